#pragma once
// Vectors of 16 floats in the vector extension of GCC and Clang: one source for every processor. Functions
// that use them are called by for_this_processor() (core/for_this_processor.h).
#include <bit>
#include <cstdint>
#include <cstring>

#include <c10/util/BFloat16.h>

#include "core/for_this_processor.h"

#pragma GCC diagnostic ignored "-Wpsabi"  // no call passes a vector: all are inlined
#define COHORT_INLINE [[gnu::always_inline]] inline

namespace cohort::nn {

using Floats = float __attribute__((vector_size(64)));
using Words = std::uint32_t __attribute__((vector_size(64)));
using Halves = std::uint16_t __attribute__((vector_size(32)));
constexpr std::int64_t kLanes = 16;

COHORT_INLINE Floats all_lanes(float value) {
  return Floats{} + value;
}

COHORT_INLINE Words bits_of(const Floats& values) {
  return std::bit_cast<Words>(values);
}

COHORT_INLINE Floats from_bits(const Words& bits) {
  return std::bit_cast<Floats>(bits);
}

COHORT_INLINE Floats load(const float* from) {
  Floats values;
  std::memcpy(&values, from, sizeof values);
  return values;
}

COHORT_INLINE Floats load(const c10::BFloat16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  return from_bits(__builtin_convertvector(halves, Words) << 16);
}

COHORT_INLINE void store(float* to, const Floats& values) {
  std::memcpy(to, &values, sizeof values);
}

/// The upper 16 bits are those of the nearest bf16, to even; what is not a number stays so.
COHORT_INLINE Words rounded_to_bf16(const Floats& values) {
  const Words bits = bits_of(values);
  const Words rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return values == values ? rounded : (bits | 0x400000);
}

COHORT_INLINE void store(c10::BFloat16* to, const Floats& values) {
  const Halves halves = __builtin_convertvector(rounded_to_bf16(values) >> 16, Halves);
  std::memcpy(to, &halves, sizeof halves);
}

/// The first `count` lanes; zeros in the others.
template <class T>
COHORT_INLINE Floats load(const T* from, std::int64_t count) {
  if (count == kLanes) return load(from);
  T values[kLanes] = {};
  for (std::int64_t i = 0; i < count; ++i) values[i] = from[i];
  return load(values);
}

template <class T>
COHORT_INLINE void store(T* to, const Floats& values, std::int64_t count) {
  if (count == kLanes) return store(to, values);
  T all[kLanes];
  store(all, values);
  for (std::int64_t i = 0; i < count; ++i) to[i] = all[i];
}

/// Calls `part(first, count)` for each vector of `size` values, the last of which may be a part of one.
template <class Part>
COHORT_INLINE void for_each_vector(std::int64_t size, const Part& part) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) part(i, kLanes);
  if (i < size) part(i, size - i);
}

/// In an order that does not depend on the processor.
COHORT_INLINE float sum_of_lanes(const Floats& values) {
  float lanes[kLanes];
  store(lanes, values);
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

COHORT_INLINE float largest_lane(const Floats& values) {
  float lanes[kLanes];
  store(lanes, values);
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t i = 0; i < half; ++i)
      lanes[i] = lanes[i] < lanes[i + half] ? lanes[i + half] : lanes[i];
  }
  return lanes[0];
}

/// e^x of x <= 88 within 2 units of the last place; what is not a number stays so. 2^n e^r with |r| <= ln(2)
/// / 2, and e^r as the polynomial of degree 6 whose largest relative error is least, 2e-9.
COHORT_INLINE Floats exponential(const Floats& any) {
  constexpr float kLowest = -87.0f, kInverse = 1.44269504f, kShift = 12582912.0f;  // 1.5 * 2^23: rounds
  constexpr float kUpper = 0.693145752f, kLower = 1.42860677e-6f;                  // ln(2) in two parts
  const Floats x = any < kLowest ? all_lanes(kLowest) : any;
  const Floats shifted = x * kInverse + kShift;
  const Floats n = shifted - kShift, r = (x - n * kUpper) - n * kLower;
  Floats sum = r * 0.0013836841921390126f + 0.008374815781182491f;
  sum = sum * r + 0.04166822564215731f;
  sum = sum * r + 0.16666420170194296f;
  sum = sum * r + 0.4999999207949426f;
  sum = sum * r + 1.0000000363230965f;
  sum = sum * r + 1.0000000005541874f;
  return from_bits(bits_of(sum) + (bits_of(shifted) << 23));
}

}  // namespace cohort::nn
