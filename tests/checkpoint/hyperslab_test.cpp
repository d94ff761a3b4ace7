#include "checkpoint/hyperslab.h"

#include <numeric>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

namespace cohort::checkpoint {
namespace {

// Row-major positions of all values of a box, in order.
void collect(const Box& box, const std::vector<std::int64_t>& shape, std::size_t dimension,
             std::int64_t position, std::vector<std::int64_t>& out) {
  if (dimension == shape.size()) {
    out.push_back(position);
    return;
  }
  for (std::int64_t i = 0; i < box.count[dimension]; ++i) {
    collect(box, shape, dimension + 1, position * shape[dimension] + box.start[dimension] + i, out);
  }
}

// Every range of an array of this shape is the union of its boxes, in order and without repetition.
void check_all_ranges(const std::vector<std::int64_t>& shape) {
  std::int64_t size = 1;
  for (const std::int64_t n : shape) size *= n;
  for (std::int64_t begin = 0; begin < size; ++begin) {
    for (std::int64_t count = 1; begin + count <= size; ++count) {
      const auto boxes = boxes_of_range(shape, begin, count);
      std::vector<std::int64_t> positions, expected(static_cast<std::size_t>(count));
      for (const Box& box : boxes) collect(box, shape, 0, 0, positions);
      std::iota(expected.begin(), expected.end(), begin);
      ASSERT_EQ(positions, expected) << ::testing::PrintToString(shape) << " from " << begin << " count "
                                     << count;
      ASSERT_LE(boxes.size(), 2 * shape.size() - 1);
    }
  }
}

TEST(BoxesOfRange, CoverEveryRangeOfAllSmallShapes) {
  for (std::int64_t a = 1; a <= 4; ++a) {
    check_all_ranges({a});
    for (std::int64_t b = 1; b <= 4; ++b) {
      check_all_ranges({a, b});
      for (std::int64_t c = 1; c <= 3; ++c) {
        check_all_ranges({a, b, c});
        check_all_ranges({a, b, c, 2});
      }
    }
  }
}

TEST(BoxesOfRange, RefusesRangesOutsideTheArray) {
  const std::vector<std::int64_t> shape{2, 3};

  EXPECT_THROW(boxes_of_range(shape, 0, 7), Bug);
  EXPECT_THROW(boxes_of_range(shape, -1, 2), Bug);
  EXPECT_THROW(boxes_of_range(shape, 2, 0), Bug);
  EXPECT_THROW(boxes_of_range({}, 0, 1), Bug);
}

}  // namespace
}  // namespace cohort::checkpoint
