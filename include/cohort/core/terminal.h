#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cohort {

/// Columns of the terminal that `descriptor` (1: standard output, 2: standard error) is; of one that does not
/// say, COLUMNS of the environment. Nothing: a file or a pipe, whose lines may be long.
std::optional<std::size_t> terminal_columns(int descriptor = 1);

/// One line of several parts. Where a terminal is too narrow for it, parts are left out, those of least
/// importance first.
class PartedLine {
 public:
  /// `importance`: parts of equal importance go from the back; 0 goes first.
  void add(std::string text, int importance) { parts_.push_back({std::move(text), importance}); }
  void add_before(std::string text, int importance) {
    parts_.insert(parts_.begin(), {std::move(text), importance});
  }
  /// All parts, with two blanks between them.
  [[nodiscard]] std::string text() const;
  /// The same in at most `columns`; what is left of one part that does not fit alone is cut. Nothing: text().
  [[nodiscard]] std::string text(std::optional<std::size_t> columns) const;

 private:
  struct Part {
    std::string text;
    int importance;
  };
  std::vector<Part> parts_;
};

/// log_info() of a line that is shortened for the terminal, and whole in files.
void log_info(const PartedLine& line);

}  // namespace cohort
