#pragma once
#include <cstdint>

#include "support/device_code.h"

namespace cohort::nn {

/// Pointers of one sum over segments: B images, D columns, `entries` = keys · B.
template <class Value>
struct SegmentSums {
  const Value* means;           ///< [B, D]
  const std::int64_t* segment;  ///< [entries], row of the table; entry i is of image i % B
  Value* table;                 ///< [rows, D + 1]
  std::int64_t images, width, entries;
};

/// Value `column` of row `row` of the table: the sum over the entries of the row, in order, or their number.
template <class Value>
COHORT_DEVICE_CODE void sum_segment(const SegmentSums<Value>& of, std::int64_t row, std::int64_t column) {
  Value sum = 0;
  std::int64_t image = 0;
  for (std::int64_t entry = 0; entry < of.entries; ++entry) {
    if (of.segment[entry] == row) sum += column < of.width ? of.means[image * of.width + column] : Value{1};
    if (++image == of.images) image = 0;
  }
  of.table[row * (of.width + 1) + column] = sum;
}

/// The gradient of one value of the means: the sum of those of the rows that it went into, in the order of
/// the keys.
template <class Value>
struct SegmentGradients {
  const Value* table;           ///< [rows, D + 1], gradient of the table
  const std::int64_t* segment;  ///< [entries]
  Value* means;                 ///< [B, D], gradient of the means
  std::int64_t images, width, entries;
};

template <class Value>
COHORT_DEVICE_CODE void gather_segment(const SegmentGradients<Value>& of, std::int64_t image,
                                       std::int64_t column) {
  Value sum = 0;
  for (std::int64_t entry = image; entry < of.entries; entry += of.images)
    sum += of.table[of.segment[entry] * (of.width + 1) + column];
  of.means[image * of.width + column] = sum;
}

}  // namespace cohort::nn
