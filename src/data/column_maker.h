#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cohort/data/batch.h"

namespace cohort::data {

/// Reads rows of a field, one at a time, and makes a column of them.
class ColumnMaker {
 public:
  /// `rows`: of the batch. Throws UsageError: no such field. `dataset` has to outlive it.
  ColumnMaker(const Dataset& dataset, std::string field, std::int64_t rows);

  /// Image number `i` of the batch. From any thread, once for each. Throws DataError.
  void read(std::int64_t i, std::int64_t row);
  [[nodiscard]] const std::string& field() const { return name_; }
  [[nodiscard]] Column column(bool pinned) const;

 private:
  const Dataset& dataset_;
  std::string name_;
  std::vector<std::vector<std::byte>> rows_;
};

}  // namespace cohort::data
