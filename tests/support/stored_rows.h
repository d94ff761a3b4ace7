#pragma once
#include <cstdint>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/eval/stored_rows.h"

namespace cohort::testing {

/// Collective. Each rank writes every size()-th row, from the last one on.
inline eval::StoredRows stored(const at::Tensor& values, comm::Communicator& ranks) {
  eval::StoredRows rows(values.size(0), values.size(1), ranks);
  for (std::int64_t i = values.size(0) - 1; i >= 0; --i)
    if (i % ranks.size() == ranks.rank()) rows.write(at::full({1}, i, at::kLong), values.narrow(0, i, 1));
  return rows;
}

inline eval::LabelsOf labels_of(const std::vector<std::int32_t>& labels) {
  return [&labels](std::int64_t first, std::int64_t count) {
    return std::vector<std::int32_t>(labels.begin() + first, labels.begin() + first + count);
  };
}

}  // namespace cohort::testing
