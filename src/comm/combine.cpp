#include "comm/combine.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

namespace cohort::comm {
namespace {

constexpr std::size_t kBlock = 2048;  // values: partial results stay in the first level of the cache

// In parts of a fixed size, which is what GCC makes vector code of at -O2. `result` may be `a` or `b`.
template <class Sum, class A, class B, class Operator>
void reduce(Sum* result, const A* a, const B* b, std::size_t count, Operator operation) {
  constexpr std::size_t kPart = 16;
  std::size_t i = 0;
  for (; i + kPart <= count; i += kPart) {
    std::array<Sum, kPart> part;
    for (std::size_t j = 0; j < kPart; ++j)
      part[j] = operation(static_cast<Sum>(a[i + j]), static_cast<Sum>(b[i + j]));
    std::copy_n(part.data(), kPart, result + i);
  }
  for (; i < count; ++i) result[i] = operation(static_cast<Sum>(a[i]), static_cast<Sum>(b[i]));
}

template <class T, class Operator>
void combine(std::span<const std::byte* const> versions, std::byte* total, std::size_t count, std::byte* copy,
             Operator operation) {
  using Sum = std::conditional_t<std::is_same_v<T, c10::BFloat16>, float, T>;
  std::array<Sum, kBlock> sum;
  const auto values = [](const std::byte* bytes) {
    return static_cast<const T*>(static_cast<const void*>(bytes));
  };
  const auto target = [](std::byte* bytes) { return static_cast<T*>(static_cast<void*>(bytes)); };
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t n = std::min(kBlock, count - begin);
    reduce(sum.data(), values(versions[0]) + begin, values(versions[1]) + begin, n, operation);
    for (const std::byte* version : versions.subspan(2))
      reduce(sum.data(), sum.data(), values(version) + begin, n, operation);
    std::copy_n(sum.data(), n, target(total) + begin);
    if (copy != nullptr) std::copy_n(target(total) + begin, n, target(copy) + begin);
  }
}

template <class T>
void combine(std::span<const std::byte* const> versions, std::byte* total, std::size_t count, Reduce op,
             std::byte* copy) {
  switch (op) {
    case Reduce::sum:
      return combine<T>(versions, total, count, copy,
                        [](auto a, auto b) { return static_cast<decltype(a)>(a + b); });
    case Reduce::max:
      return combine<T>(versions, total, count, copy, [](auto a, auto b) { return std::max(a, b); });
    case Reduce::min:
      return combine<T>(versions, total, count, copy, [](auto a, auto b) { return std::min(a, b); });
  }
}

}  // namespace

void combine(std::span<const std::byte* const> versions, std::byte* total, std::size_t count,
             at::ScalarType type, Reduce op, std::byte* copy) {
  switch (type) {
    case at::kFloat:
      return combine<float>(versions, total, count, op, copy);
    case at::kDouble:
      return combine<double>(versions, total, count, op, copy);
    case at::kBFloat16:
      return combine<c10::BFloat16>(versions, total, count, op, copy);
    case at::kInt:
      return combine<std::int32_t>(versions, total, count, op, copy);
    case at::kLong:
      return combine<std::int64_t>(versions, total, count, op, copy);
    default:
      return combine<std::uint8_t>(versions, total, count, op, copy);
  }
}

}  // namespace cohort::comm
