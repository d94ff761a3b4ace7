#include "cohort/core/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>

#include "cohort/core/error.h"

#include "support/philox.h"

namespace cohort {
namespace {

// Finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads every input bit.
std::uint64_t mix(std::uint64_t value) noexcept {
  value += 0x9e3779b97f4a7c15ULL;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

std::array<std::uint32_t, 2> words_of(std::uint64_t value) noexcept {
  return {static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(value >> 32)};
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) noexcept {
  std::uint32_t words[4] = {counter[0], counter[1], counter[2], counter[3]};
  philox_rounds(words, key[0], key[1]);
  return std::to_array(words);
}

// Seed, purpose and time, mixed; the rest is in the counter, where nothing can collide.
std::array<std::uint32_t, 2> philox_key(const RandomKey& key) noexcept {
  return words_of(mix(mix(mix(key.seed) ^ static_cast<std::uint64_t>(key.purpose)) ^
                      static_cast<std::uint64_t>(key.time)));
}

RandomStream::RandomStream(const RandomKey& key) noexcept : key_(philox_key(key)) {
  const auto sample = words_of(static_cast<std::uint64_t>(key.sample));
  counter_ = {0, key.layer, sample[0], sample[1]};
}

RandomStream::result_type RandomStream::operator()() noexcept {
  if (used_ == 4) {
    words_ = philox4x32(counter_, key_);
    ++counter_[0];
    used_ = 0;
  }
  return words_[used_++];
}

float RandomStream::uniform() noexcept {
  return uniform_of_word((*this)());
}

double RandomStream::uniform(double low, double high) noexcept {
  return low + (high - low) * static_cast<double>(uniform());
}

std::uint64_t RandomStream::below(std::uint64_t bound) noexcept {
  auto word64 = [this] {
    const std::uint64_t high = (*this)();
    return high << 32 | (*this)();
  };
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(word64()) * bound;
  if (static_cast<std::uint64_t>(product) < bound) {
    const std::uint64_t threshold = -bound % bound;
    while (static_cast<std::uint64_t>(product) < threshold) product = static_cast<Wide>(word64()) * bound;
  }
  return static_cast<std::uint64_t>(product >> 64);
}

double RandomStream::normal() noexcept {
  const double radius = std::sqrt(-2.0 * std::log1p(-static_cast<double>(uniform())));
  return radius * std::cos(2.0 * std::numbers::pi * static_cast<double>(uniform()));
}

void RandomStream::fill_uniform(std::span<float> values) noexcept {
  std::size_t at = 0;
  while (at < values.size() && used_ != 4) values[at++] = uniform();
  for (; at + 4 <= values.size(); at += 4, ++counter_[0]) {
    const auto words = philox4x32(counter_, key_);
    for (std::size_t i = 0; i < 4; ++i) values[at + i] = uniform_of_word(words[i]);
  }
  while (at < values.size()) values[at++] = uniform();
}

std::vector<std::int64_t> permutation(std::int64_t count, RandomStream stream) {
  COHORT_CHECK(count >= 0, "a permutation of {} values", count);
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t left = order.size(); left > 1; --left)
    std::swap(order[left - 1], order[stream.below(left)]);
  return order;
}

Permutation::Permutation(std::int64_t size, RandomStream stream) : size_(size) {
  COHORT_CHECK(size >= 0, "a permutation of {} values", size);
  if (size <= kTableSize) {
    const std::vector<std::int64_t> order = permutation(size, stream);
    std::transform(order.begin(), order.end(), table_.begin(),
                   [](std::int64_t value) { return static_cast<std::uint8_t>(value); });
    return;
  }
  half_bits_ = (std::bit_width(static_cast<std::uint64_t>(size - 1)) + 1) / 2;
  for (std::uint64_t& key : keys_) {
    key = static_cast<std::uint64_t>(stream()) << 32;
    key |= stream();
  }
}

std::uint64_t Permutation::encrypt(std::uint64_t value) const noexcept {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t left = value >> half_bits_, right = value & mask;
  for (const std::uint64_t key : keys_) {
    const std::uint64_t next = left ^ (mix(right ^ key) & mask);
    left = right;
    right = next;
  }
  return left << half_bits_ | right;
}

std::int64_t Permutation::operator()(std::int64_t place) const noexcept {
  if (size_ <= kTableSize) return table_[static_cast<std::size_t>(place)];
  auto value = static_cast<std::uint64_t>(place);
  do {
    value = encrypt(value);
  } while (value >= static_cast<std::uint64_t>(size_));
  return static_cast<std::int64_t>(value);
}

}  // namespace cohort
