#include "data_prep/numpy_random.h"

#include <bit>
#include <numeric>
#include <random>
#include <utility>

namespace cohort::data_prep {
namespace {

/// 0 … most, all equally likely.
std::uint32_t index_up_to(std::mt19937& generator, std::uint32_t most) {
  const std::uint32_t mask = static_cast<std::uint32_t>(std::bit_ceil(std::uint64_t{most} + 1) - 1);
  for (;;) {
    const auto value = static_cast<std::uint32_t>(generator()) & mask;
    if (value <= most) return value;
  }
}

}  // namespace

std::vector<std::int64_t> numpy_permutation(std::uint32_t seed, std::int64_t count) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::mt19937 generator(seed);
  for (std::size_t i = order.size(); i-- > 1;)
    std::swap(order[i], order[index_up_to(generator, static_cast<std::uint32_t>(i))]);
  return order;
}

}  // namespace cohort::data_prep
