#include "data_prep/counts.h"

#include <algorithm>

#include <fmt/format.h>

#include "cohort/core/text.h"

namespace cohort::data_prep {
namespace {

/// Counts of one line: all images, then every class of every label.
using Counts = std::vector<std::int64_t>;

struct TableLine {
  std::string split, context;
  Counts counts;
};

std::vector<std::string> count_names(const data::Description& description) {
  std::vector<std::string> names{"images"};
  for (const auto& label : description.labels) {
    for (const std::string& value : label.classes) names.push_back(fmt::format("{}={}", label.name, value));
  }
  return names;
}

void count(const data::Description& description, const data::Row& row, Counts& counts) {
  ++counts[0];
  std::size_t first = 1;
  for (std::size_t i = 0; i < row.labels.size(); ++i) {
    if (row.labels[i] >= 0) ++counts[first + static_cast<std::size_t>(row.labels[i])];
    first += description.labels[i].classes.size();
  }
}

/// The lines of one split: the whole of it, then the values of each context key that it has images of.
std::vector<TableLine> split_lines(const data::Description& description, std::span<const data::Row> rows,
                                   std::size_t split, std::size_t columns) {
  std::vector<TableLine> lines{{description.splits[split].name, "all", Counts(columns)}};
  for (const auto& key : description.contexts) {
    for (const std::string& value : key.values) {
      lines.push_back(
          {description.splits[split].name, fmt::format("{}={}", key.name, value), Counts(columns)});
    }
  }
  for (const data::Row& row : rows) {
    if (row.split != static_cast<std::int32_t>(split)) continue;
    count(description, row, lines[0].counts);
    std::size_t first = 1;
    for (std::size_t k = 0; k < row.contexts.size(); ++k) {
      count(description, row, lines[first + static_cast<std::size_t>(row.contexts[k])].counts);
      first += description.contexts[k].values.size();
    }
  }
  const auto empty = [](const TableLine& line) { return line.context != "all" && line.counts[0] == 0; };
  lines.erase(std::remove_if(lines.begin(), lines.end(), empty), lines.end());
  return lines;
}

}  // namespace

std::string count_table(const data::Description& description, std::span<const data::Row> rows) {
  const std::vector<std::string> names = count_names(description);
  std::vector<TableLine> lines;
  for (std::size_t split = 0; split < description.splits.size(); ++split) {
    for (TableLine& line : split_lines(description, rows, split, names.size()))
      lines.push_back(std::move(line));
  }
  std::size_t split_width = 5, context_width = 7;
  for (const TableLine& line : lines) {
    split_width = std::max(split_width, line.split.size());
    context_width = std::max(context_width, line.context.size());
  }
  std::string table = fmt::format("{:{}}  {:{}}", "split", split_width, "context", context_width);
  for (const std::string& name : names) table += fmt::format("  {:>8}", name);
  for (const TableLine& line : lines) {
    table += fmt::format("\n{:{}}  {:{}}", line.split, split_width, line.context, context_width);
    for (std::size_t i = 0; i < names.size(); ++i) {
      table +=
          fmt::format("  {:>{}}", format_count(line.counts[i]), std::max<std::size_t>(8, names[i].size()));
    }
  }
  return table + "\n";
}

}  // namespace cohort::data_prep
