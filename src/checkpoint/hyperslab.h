#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace cohort::checkpoint {

/// A rectangular part of an N-D dataset.
struct Box {
  std::vector<std::int64_t> start, count;  ///< per dimension
  friend bool operator==(const Box&, const Box&) = default;
};

/// The values [begin, begin+count) of an array in row-major order, as boxes: disjoint, in order, at most
/// 2*dimensions - 1. `shape` has at least one dimension; 0 <= begin, 1 <= count, begin + count <= its number
/// of values.
std::vector<Box> boxes_of_range(std::span<const std::int64_t> shape, std::int64_t begin, std::int64_t count);

}  // namespace cohort::checkpoint
