#include "comm/combine.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

namespace cohort::comm {
namespace {

constexpr std::size_t kBlock = 2048;  // values: partial results stay in the first level of the cache

// In parts of a fixed size, which is what GCC makes vector code of at -O2.
template <class Sum, class T, class Operator>
void accumulate(Sum* __restrict sum, const T* __restrict values, std::size_t count, Operator operation) {
  constexpr std::size_t kPart = 16;
  std::size_t i = 0;
  for (; i + kPart <= count; i += kPart) {
    for (std::size_t j = i; j < i + kPart; ++j) sum[j] = operation(sum[j], static_cast<Sum>(values[j]));
  }
  for (; i < count; ++i) sum[i] = operation(sum[i], static_cast<Sum>(values[i]));
}

template <class Sum, class T>
void accumulate(Sum* sum, const T* values, std::size_t count, Reduce op) {
  switch (op) {
    case Reduce::sum:
      return accumulate(sum, values, count, [](Sum a, Sum b) { return static_cast<Sum>(a + b); });
    case Reduce::max:
      return accumulate(sum, values, count, [](Sum a, Sum b) { return std::max(a, b); });
    case Reduce::min:
      return accumulate(sum, values, count, [](Sum a, Sum b) { return std::min(a, b); });
  }
}

template <class T>
void combine(std::span<const std::byte* const> versions, std::byte* total, std::size_t count, Reduce op) {
  using Sum = std::conditional_t<std::is_same_v<T, c10::BFloat16>, float, T>;
  std::array<Sum, kBlock> sum;
  const auto values = [](const std::byte* bytes) {
    return static_cast<const T*>(static_cast<const void*>(bytes));
  };
  auto* const target = static_cast<T*>(static_cast<void*>(total));
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t n = std::min(kBlock, count - begin);
    std::copy_n(values(versions[0]) + begin, n, sum.data());
    for (const std::byte* version : versions.subspan(1))
      accumulate(sum.data(), values(version) + begin, n, op);
    std::copy_n(sum.data(), n, target + begin);
  }
}

}  // namespace

void combine(std::span<const std::byte* const> versions, std::byte* total, std::size_t count,
             at::ScalarType type, Reduce op) {
  switch (type) {
    case at::kFloat:
      return combine<float>(versions, total, count, op);
    case at::kDouble:
      return combine<double>(versions, total, count, op);
    case at::kBFloat16:
      return combine<c10::BFloat16>(versions, total, count, op);
    case at::kInt:
      return combine<std::int32_t>(versions, total, count, op);
    case at::kLong:
      return combine<std::int64_t>(versions, total, count, op);
    default:
      return combine<std::uint8_t>(versions, total, count, op);
  }
}

}  // namespace cohort::comm
