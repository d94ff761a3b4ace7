#include "table.h"

#include <array>
#include <cstdio>
#include <utility>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <mpi.h>
#include <nlohmann/json.hpp>

#include "cohort/core/error.h"
#include "cohort/core/host.h"

namespace cohort::perf {
namespace {

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string whole = text.data();
  return whole.substr(0, whole.find(','));
}

std::string json_key(const Column& column) {
  std::string key = column.unit.empty() || column.unit == "%"
                        ? column.name
                        : fmt::format("{} {}", column.name, column.unit);
  for (char& letter : key) {
    if (letter == ' ' || letter == '/') letter = '_';
  }
  return key == "#wrong" ? "wrong" : key;
}

std::string in_column(const Cell& cell, const Column& column) {
  if (const auto* text = std::get_if<std::string>(&cell)) return fmt::format("{:>{}}", *text, column.width);
  if (const auto* count = std::get_if<std::int64_t>(&cell))
    return fmt::format("{:>{}}", *count, column.width);
  return fmt::format("{:>{}.{}f}", std::get<double>(cell), column.width, column.decimals);
}

}  // namespace

Table::Table(const std::string& benchmark, const std::vector<std::string>& notes, std::vector<Column> columns,
             bool json, comm::Communicator& ranks)
    : columns_(std::move(columns)), json_(json), speaks_(ranks.rank() == 0) {
  if (speaks_ && !json_) print_header(benchmark, notes, ranks.size());
}

void Table::print_header(const std::string& benchmark, const std::vector<std::string>& notes,
                         int ranks) const {
  fmt::print("# cohort-perf {} {}  {} ranks on {}  cpu, {} threads/rank  gcc {}.{}  {}\n", benchmark,
             COHORT_VERSION, ranks, host_name(), at::get_num_threads(), __GNUC__, __GNUC_MINOR__,
             mpi_version());
  for (const auto& note : notes) fmt::print("# {}\n", note);
  std::string names, units;
  for (const auto& column : columns_) {
    names += fmt::format(" {:>{}}", column.name, column.width);
    units += fmt::format(" {:>{}}", column.unit.empty() ? std::string() : fmt::format("({})", column.unit),
                         column.width);
  }
  fmt::print("#{}\n#{}\n", names, units);
}

void Table::add(const std::vector<Cell>& cells) const {
  COHORT_CHECK(cells.size() == columns_.size(), "{} cells for {} columns", cells.size(), columns_.size());
  if (!speaks_) return;
  if (json_) {
    nlohmann::ordered_json line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      std::visit([&](const auto& value) { line[json_key(columns_[i])] = value; }, cells[i]);
    }
    fmt::print("{}\n", line.dump());
  } else {
    std::string line = " ";
    for (std::size_t i = 0; i < cells.size(); ++i)
      line += fmt::format(" {}", in_column(cells[i], columns_[i]));
    fmt::print("{}\n", line);
  }
  std::fflush(stdout);
}

}  // namespace cohort::perf
