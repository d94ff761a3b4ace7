#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cohort::eval {

/// A sum of doubles in whole units of 2⁻⁶⁴, so that it does not depend on the order of its terms, nor on the
/// rank that adds them; but for terms of 2³⁰ and more, which are rounded one by one.
class ExactSum {
 public:
  static constexpr std::size_t kParts = 4;  ///< of 32 bits, which may be added up as numbers of 64

  void add(double value) noexcept {
    if (std::abs(value) < kLargest)
      total_ += static_cast<Wide>(std::ldexp(value, kUnit));
    else
      beyond_ += value;
  }
  void add(const ExactSum& other) noexcept {
    total_ += other.total_;
    beyond_ += other.beyond_;
  }
  void put(std::span<std::int64_t> parts) const noexcept {
    for (std::size_t i = 0; i < kParts; ++i) {
      const Wide part = total_ >> (32 * i);
      parts[i] = static_cast<std::int64_t>(i + 1 < kParts ? part & 0xFFFFFFFF : part);
    }
  }
  void take(std::span<const std::int64_t> parts) noexcept {
    total_ = 0;
    for (std::size_t i = kParts; i-- > 0;) total_ = total_ * (Wide{1} << 32) + parts[i];
  }
  /// The sum of the larger terms.
  [[nodiscard]] double beyond() const noexcept { return beyond_; }
  void set_beyond(double sum) noexcept { beyond_ = sum; }
  /// Rounded once.
  [[nodiscard]] double value() const noexcept {
    return std::ldexp(static_cast<double>(total_), -kUnit) + beyond_;
  }

 private:
  __extension__ using Wide = __int128;
  static constexpr int kUnit = 64;
  static constexpr double kLargest = 0x1p30;  // 2³³ of them have room

  Wide total_ = 0;
  double beyond_ = 0;  // of larger terms: losses of weights that have diverged
};

}  // namespace cohort::eval
