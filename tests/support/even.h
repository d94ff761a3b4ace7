#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::testing {

/// How often each cell of a table was met. With two or more dimensions its cells are pairs, triples …: equal
/// counts in all of them mean that each value is equally likely and that they are independent of each other.
class Counts {
 public:
  explicit Counts(std::vector<std::int64_t> sizes)
      : sizes_(std::move(sizes)),
        cells_(static_cast<std::size_t>(
            std::accumulate(sizes_.begin(), sizes_.end(), std::int64_t{1}, std::multiplies<>()))) {}

  template <class... Index>
  void add(Index... index) {
    ++cells_.at(place({static_cast<std::int64_t>(index)...}));
  }
  [[nodiscard]] const std::vector<std::int64_t>& cells() const noexcept { return cells_; }

 private:
  [[nodiscard]] std::size_t place(const std::vector<std::int64_t>& index) const {
    std::int64_t place = 0;
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      EXPECT_TRUE(index[i] >= 0 && index[i] < sizes_[i]) << index[i] << " of " << sizes_[i];
      place = place * sizes_[i] + index[i];
    }
    return static_cast<std::size_t>(place);
  }

  std::vector<std::int64_t> sizes_, cells_;
};

/// Pearson's chi-square of `counts` against probabilities, as a normal deviate (Wilson and Hilferty 1931):
/// beyond 4 in one of 30,000 tables that are what they should be. Draws in tests have fixed seeds, so that a
/// table either is or is not.
inline double chi_square_deviate(const std::vector<std::int64_t>& counts,
                                 const std::vector<double>& probabilities) {
  const auto all = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  double square = 0.0, degrees = -1.0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = all * probabilities[i], distance = static_cast<double>(counts[i]) - expected;
    square += distance * distance / expected;
    degrees += 1.0;
  }
  const double spread = 2.0 / (9.0 * degrees);
  return (std::cbrt(square / degrees) - (1.0 - spread)) / std::sqrt(spread);
}

inline void expect_as_likely(const std::vector<std::int64_t>& counts,
                             const std::vector<double>& probabilities) {
  const double deviate = chi_square_deviate(counts, probabilities);
  EXPECT_LT(deviate, 4.0) << ::testing::PrintToString(counts);
  EXPECT_GT(*std::min_element(counts.begin(), counts.end()), 0) << ::testing::PrintToString(counts);
}

/// Every cell is met equally often, as far as chance allows.
inline void expect_even(const Counts& counts) {
  const std::size_t cells = counts.cells().size();
  expect_as_likely(counts.cells(), std::vector<double>(cells, 1.0 / static_cast<double>(cells)));
}

/// The part of [low, high) that `value` lies in, of `parts` equal ones.
inline std::int64_t part_of(double value, double low, double high, std::int64_t parts) {
  const double place = (value - low) / (high - low) * static_cast<double>(parts);
  EXPECT_TRUE(place > -1e-6 && place < static_cast<double>(parts) + 1e-6) << value;
  return std::clamp(static_cast<std::int64_t>(place), std::int64_t{0}, parts - 1);
}

}  // namespace cohort::testing
