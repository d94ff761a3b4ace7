#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace cohort::augment {

/// Sums are formed in this many sums, of every so manieth value, which are added as a tree: as a block of
/// threads does it.
inline constexpr int kLanes = 512;

/// Runs the steps of view_body.h on the CPU: what a block of threads does, one thread's part after the
/// other's.
struct HostLanes {
  template <class Item>
  void for_each(std::int32_t count, const Item& item) const {
    for (std::int32_t i = count - 1; i >= 0; --i) item(i);
  }
  template <class Value>
  double sum(std::int32_t count, const Value& value) const {
    std::array<double, kLanes> sums{};
    for (std::int32_t i = 0; i < count; ++i) sums[static_cast<std::size_t>(i % kLanes)] += value(i);
    for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
      for (std::size_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
    }
    return sums[0];
  }
};

}  // namespace cohort::augment
