#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cohort::eval {

/// A sum of doubles in whole units of 2⁻⁶⁴, and of 2⁻²² for terms of 2³⁰ and more, so that it does not depend
/// on the order of its terms, nor on the rank that adds them; but for terms of 2⁷² and more, which are
/// rounded one by one.
class ExactSum {
 public:
  static constexpr std::size_t kParts = 8;            ///< of 32 bits, which may be added up as numbers of 64
  static constexpr int kUnit = 64, kCoarseUnit = 22;  ///< of the first half of parts 2⁻⁶⁴, of the other 2⁻²²

  void add(double value) noexcept {
    if (std::abs(value) < kFine)
      fine_ += static_cast<Wide>(std::ldexp(value, kUnit));
    else if (std::abs(value) < kCoarse)
      coarse_ += static_cast<Wide>(std::ldexp(value, kCoarseUnit));
    else
      beyond_ += value;
  }
  /// `other` as often as that.
  void add(const ExactSum& other, std::int64_t times = 1) noexcept {
    fine_ += other.fine_ * times;
    coarse_ += other.coarse_ * times;
    beyond_ += other.beyond_ * static_cast<double>(times);
  }
  void put(std::span<std::int64_t> parts) const noexcept {
    put(fine_, parts.first(kParts / 2));
    put(coarse_, parts.last(kParts / 2));
  }
  void take(std::span<const std::int64_t> parts) noexcept {
    fine_ = taken(parts.first(kParts / 2));
    coarse_ = taken(parts.last(kParts / 2));
  }
  /// The sum of the largest terms.
  [[nodiscard]] double beyond() const noexcept { return beyond_; }
  void set_beyond(double sum) noexcept { beyond_ = sum; }
  /// Rounded once where all terms are below 2³⁰.
  [[nodiscard]] double value() const noexcept {
    return std::ldexp(static_cast<double>(fine_), -kUnit) +
           std::ldexp(static_cast<double>(coarse_), -kCoarseUnit) + beyond_;
  }

 private:
  __extension__ using Wide = __int128;
  static constexpr double kFine = 0x1p30, kCoarse = 0x1p72;  // 2³³ of them have room

  static void put(Wide value, std::span<std::int64_t> parts) noexcept {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const Wide part = value >> (32 * i);
      parts[i] = static_cast<std::int64_t>(i + 1 < parts.size() ? part & 0xFFFFFFFF : part);
    }
  }
  static Wide taken(std::span<const std::int64_t> parts) noexcept {
    Wide value = 0;
    for (std::size_t i = parts.size(); i-- > 0;) value = value * (Wide{1} << 32) + parts[i];
    return value;
  }

  Wide fine_ = 0, coarse_ = 0;
  double beyond_ = 0;  // of larger terms: losses of weights that have diverged
};

}  // namespace cohort::eval
