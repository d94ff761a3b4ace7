#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace cohort::data {

/// Neighbouring rows of one context. Rows of a split are sorted by context, so that runs are few.
struct ContextRun {
  std::int32_t context = 0;
  std::int64_t first = 0, rows = 0;
  friend bool operator==(const ContextRun&, const ContextRun&) = default;
};

/// A context column as runs, in the order of the rows.
class ContextRuns {
 public:
  /// Appends `values` [n], the contexts of the next n rows.
  void append(std::span<const std::int32_t> values);
  /// Appends `rows` > 0 rows of one context.
  void append(std::int32_t context, std::int64_t rows);

  [[nodiscard]] const std::vector<ContextRun>& runs() const noexcept { return runs_; }
  /// The context of a row. Takes time log(runs). Precondition: the row was appended.
  [[nodiscard]] std::int32_t at(std::int64_t row) const;

 private:
  std::vector<ContextRun> runs_;
};

}  // namespace cohort::data
