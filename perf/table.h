#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <variant>
#include <vector>

#include "cohort/comm/communicator.h"

#include "support/json.h"

namespace cohort::perf {

/// What a column is to cohort-perf compare.
enum class Role {
  detail,
  key,     ///< tells one case from another
  lower,   ///< what was measured: less is better
  higher,  ///< what was measured: more is better
};

struct Column {
  std::string name;  ///< "time p50"; with the unit it is the key in JSON: "time_p50_us"
  std::string unit;  ///< "us"; empty: none
  int width = 8;
  int decimals = 0;  ///< of floating-point cells
  Role role = Role::detail;
};

/// The column's name in JSON.
std::string json_key(const Column& column);

/// Nothing: a case that has no such value.
using Cell = std::variant<std::monostate, std::string, std::int64_t, double>;

/// "12.3", as the column asks; "-" for nothing.
std::string cell_text(const Cell& cell, const Column& column);

/// Where results go besides the terminal.
struct Output {
  bool json = false;  ///< JSON Lines instead of the table
  std::string page;   ///< HTML file; empty: none
};

/// A picture of a table on the page. Columns go by their names.
struct Plot {
  std::string title;
  std::string x;               ///< numbers from left to right; empty: a bar for each line
  std::vector<std::string> y;  ///< curves; of bars the first
  bool logarithmic = false;    ///< x
  bool from_zero = true;
};

class Results;

/// A line for each case; of what checks values the last column is the number of wrong ones. Behind a column
/// that is measured stands the noise of its repetitions: the distance of their quartiles over the median.
class Table {
 public:
  /// One cell for each column but the noise. `samples`: repetitions of what was measured, in its unit and in
  /// the order of time. Other ranks than 0 print nothing.
  void add(std::vector<Cell> cells, const std::vector<double>& samples = {});

 private:
  friend class Results;
  friend std::string page_of(const Results& results);
  Table(const Results& results, std::string name, std::vector<std::string> notes, std::vector<Column> columns,
        std::vector<Plot> plots);
  void print_heading() const;
  void print_header_json() const;
  [[nodiscard]] Json row_json(const std::vector<Cell>& cells, const std::vector<double>& samples) const;

  const Results* results_;
  std::string name_;
  std::vector<std::string> notes_;
  std::vector<Column> columns_;
  std::vector<Plot> plots_;
  std::vector<std::vector<Cell>> lines_;
};

/// The output of a benchmark, on rank 0: tables with '#' lines that say what ran where; or JSON Lines, for
/// each table an object of kind "header" (facts.h, which columns are keys, which is measured) and one of kind
/// "row" for each line, with the repetitions (docs/profiling.md); and a page with tables and pictures.
class Results {
 public:
  /// Collective.
  Results(std::string benchmark, Output output, comm::Communicator& ranks);
  /// Of a command on one process.
  Results(std::string benchmark, Output output);
  Results(const Results&) = delete;
  Results& operator=(const Results&) = delete;

  /// `name`: empty for the only table of a benchmark, or the first. `notes`: a line each, what was measured
  /// and against which limit.
  Table& table(const std::string& name, std::vector<std::string> notes, std::vector<Column> columns,
               std::vector<Plot> plots = {});
  /// More that the terminal and the page say.
  void remark(const std::string& text);
  /// An <svg> for the page.
  void picture(std::string svg) { pictures_.push_back(std::move(svg)); }
  /// Collective on ranks. Writes the page, if one was asked for. Throws DataError.
  void finish();

 private:
  friend class Table;
  friend std::string page_of(const Results& results);

  std::string benchmark_;
  Output output_;
  Json facts_;
  comm::Communicator* ranks_ = nullptr;
  std::deque<Table> tables_;
  std::vector<std::string> remarks_, pictures_;
};

}  // namespace cohort::perf
