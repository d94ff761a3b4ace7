#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "cohort/comm/communicator.h"

namespace cohort::perf {

struct Column {
  std::string name;  ///< "time p50"; with the unit it is the key in JSON: "time_p50_us"
  std::string unit;  ///< "us"; empty: none
  int width = 8;
  int decimals = 0;  ///< of floating-point cells
};

using Cell = std::variant<std::string, std::int64_t, double>;

/// The output of a benchmark, on rank 0: '#' lines that say what ran where, a row of names, a row of units, a
/// line for each case. Or one JSON object a line with the same values. The last column is always the number
/// of wrong values.
class Table {
 public:
  /// Collective. `benchmark`: name of the sub-command; `notes`: a line each, what was measured and against
  /// which limit.
  Table(const std::string& benchmark, const std::vector<std::string>& notes, std::vector<Column> columns,
        bool json, comm::Communicator& ranks);
  /// One cell for each column. Other ranks than 0 print nothing.
  void add(const std::vector<Cell>& cells) const;

 private:
  void print_header(const std::string& benchmark, const std::vector<std::string>& notes, int ranks) const;
  std::vector<Column> columns_;
  bool json_;
  bool speaks_;
};

}  // namespace cohort::perf
