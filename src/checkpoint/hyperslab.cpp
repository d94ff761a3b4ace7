#include "hyperslab.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "cohort/core/error.h"

namespace cohort::checkpoint {
namespace {

std::int64_t product(std::span<const std::int64_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>());
}

class Cutter {
 public:
  explicit Cutter(std::span<const std::int64_t> shape) : shape_(shape), prefix_(shape.size(), 0) {}

  // Adds [begin, end), counted from the start of the part that the indices before `dimension` (prefix_)
  // select.
  void cut(std::size_t dimension, std::int64_t begin, std::int64_t end) {
    const std::int64_t inner = product(shape_.subspan(dimension + 1));
    std::int64_t first = begin / inner, last = end / inner;  // of the rows that lie whole in the range
    if (begin % inner != 0) {
      const std::int64_t row_end = (first + 1) * inner;
      cut_within(dimension, first, begin - first * inner, std::min(end, row_end) - first * inner);
      if (end <= row_end) return;
      ++first;
    }
    if (first < last) add_rows(dimension, first, last - first);
    if (end % inner != 0) cut_within(dimension, last, 0, end - last * inner);
  }

  std::vector<Box> boxes;

 private:
  void cut_within(std::size_t dimension, std::int64_t row, std::int64_t begin, std::int64_t end) {
    prefix_[dimension] = row;
    cut(dimension + 1, begin, end);
    prefix_[dimension] = 0;
  }

  void add_rows(std::size_t dimension, std::int64_t first, std::int64_t rows) {
    Box box{prefix_, std::vector<std::int64_t>(shape_.size(), 1)};
    box.start[dimension] = first;
    box.count[dimension] = rows;
    for (std::size_t d = dimension + 1; d < shape_.size(); ++d) box.count[d] = shape_[d];
    boxes.push_back(std::move(box));
  }

  std::span<const std::int64_t> shape_;
  std::vector<std::int64_t> prefix_;
};

}  // namespace

std::vector<Box> boxes_of_range(std::span<const std::int64_t> shape, std::int64_t begin, std::int64_t count) {
  COHORT_CHECK(!shape.empty() && begin >= 0 && count > 0 && begin + count <= product(shape),
               "values [{}, {}) of an array of {}", begin, begin + count, product(shape));
  Cutter cutter(shape);
  cutter.cut(0, begin, begin + count);
  return std::move(cutter.boxes);
}

}  // namespace cohort::checkpoint
