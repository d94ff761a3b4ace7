#include "table.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/printable.h"

#include "facts.h"
#include "page.h"
#include "statistics.h"

namespace cohort::perf {
namespace {

constexpr std::size_t kBlocks = 20;  // of repetitions, in JSON

bool is_measured(const Column& column) {
  return column.role == Role::lower || column.role == Role::higher;
}

std::vector<Column>::const_iterator measured(const std::vector<Column>& columns) {
  return std::find_if(columns.begin(), columns.end(), is_measured);
}

std::vector<Column> with_noise(std::vector<Column> columns) {
  if (measured(columns) != columns.end()) columns.insert(measured(columns) + 1, Column{"noise", "%", 6, 1});
  return columns;
}

double rounded(double value) {
  return std::strtod(fmt::format("{:.7g}", value).c_str(), nullptr);
}

}  // namespace

std::string json_key(const Column& column) {
  std::string key = column.unit.empty() || column.unit == "%"
                        ? column.name
                        : fmt::format("{} {}", column.name, column.unit);
  for (char& letter : key) {
    if (letter == ' ' || letter == '/') letter = '_';
  }
  return key == "#wrong" ? "wrong" : key;
}

std::string cell_text(const Cell& cell, const Column& column) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* count = std::get_if<std::int64_t>(&cell)) return fmt::format("{}", *count);
  if (const auto* value = std::get_if<double>(&cell)) return fmt::format("{:.{}f}", *value, column.decimals);
  return "-";
}

Table::Table(const Results& results, std::string name, std::vector<std::string> notes,
             std::vector<Column> columns, std::vector<Plot> plots)
    : results_(&results),
      name_(std::move(name)),
      notes_(std::move(notes)),
      columns_(with_noise(std::move(columns))),
      plots_(std::move(plots)) {
  if (results_->ranks_ != nullptr && results_->ranks_->rank() != 0) return;
  results_->output_.json ? print_header_json() : print_heading();
}

void Table::print_heading() const {
  const bool is_first = results_->tables_.empty();
  fmt::print("{}# {}\n", is_first ? "" : "\n",
             is_first ? headline(name_, results_->facts_) : "cohort-perf " + name_);
  for (const auto& note : notes_) fmt::print("# {}\n", printable(note));
  std::string names, units;
  for (const auto& column : columns_) {
    names += fmt::format(" {:>{}}", column.name, column.width);
    units += fmt::format(" {:>{}}", column.unit.empty() ? std::string() : fmt::format("({})", column.unit),
                         column.width);
  }
  fmt::print("#{}\n#{}\n", names, units);
}

void Table::print_header_json() const {
  Json header{{"kind", "header"}, {"benchmark", name_}};
  header.update(results_->facts_);
  header["keys"] = Json::array();
  for (const Column& column : columns_) {
    if (column.role == Role::key) header["keys"].push_back(json_key(column));
  }
  if (const auto column = measured(columns_); column != columns_.end()) {
    header["measured"] = json_key(*column);
    header["better"] = column->role == Role::lower ? "lower" : "higher";
  }
  fmt::print("{}\n", header.dump());
}

void Table::add(std::vector<Cell> cells, const std::vector<double>& samples) {
  if (measured(columns_) != columns_.end()) {
    const auto noise = cells.emplace(cells.begin() + (measured(columns_) - columns_.begin()) + 1);
    if (samples.size() > 1) *noise = 100 * spread(samples);
  }
  COHORT_CHECK(cells.size() == columns_.size(), "{} cells for {} columns", cells.size(), columns_.size());
  if (results_->ranks_ != nullptr && results_->ranks_->rank() != 0) return;
  if (results_->output_.json) {
    fmt::print("{}\n", row_json(cells, samples).dump());
  } else {
    std::string line = " ";
    for (std::size_t i = 0; i < cells.size(); ++i)
      line += " " + right_aligned(printable_name(cell_text(cells[i], columns_[i])), columns_[i].width);
    fmt::print("{}\n", line);
  }
  std::fflush(stdout);
  lines_.push_back(std::move(cells));
}

Json Table::row_json(const std::vector<Cell>& cells, const std::vector<double>& samples) const {
  Json row{{"kind", "row"}, {"benchmark", name_}};
  for (std::size_t i = 0; i < cells.size(); ++i) {
    Json& value = row[json_key(columns_[i])];
    if (const auto* text = std::get_if<std::string>(&cells[i])) value = *text;
    if (const auto* count = std::get_if<std::int64_t>(&cells[i])) value = *count;
    if (const auto* number = std::get_if<double>(&cells[i])) value = rounded(*number);
  }
  if (samples.empty()) return row;
  row["repetitions"] = samples.size();
  row["samples"] = Json::array();
  for (const double value : block_medians(samples, kBlocks)) row["samples"].push_back(rounded(value));
  return row;
}

Results::Results(std::string benchmark, Output output, comm::Communicator& ranks)
    : benchmark_(std::move(benchmark)), output_(std::move(output)), facts_(facts_of(ranks)), ranks_(&ranks) {}

Results::Results(std::string benchmark, Output output)
    : benchmark_(std::move(benchmark)), output_(std::move(output)), facts_(facts_of_process()) {}

Table& Results::table(const std::string& name, std::vector<std::string> notes, std::vector<Column> columns,
                      std::vector<Plot> plots) {
  const std::string whole = name.empty() ? benchmark_ : benchmark_ + " " + name;
  return tables_.emplace_back(Table(*this, whole, std::move(notes), std::move(columns), std::move(plots)));
}

void Results::remark(const std::string& text) {
  remarks_.push_back(text);
  const bool speaks = ranks_ == nullptr || ranks_->rank() == 0;
  if (speaks && !output_.json) fmt::print("# {}\n", printable(text));
}

void Results::finish() {
  if (output_.page.empty()) return;
  const auto write = [&] {
    if (ranks_ == nullptr || ranks_->rank() == 0) write_file_atomically(output_.page, page_of(*this));
  };
  ranks_ == nullptr ? write() : comm::together(*ranks_, write);
}

}  // namespace cohort::perf
