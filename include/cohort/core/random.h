#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace cohort {

/// What a random number is for. Part of its key: two purposes never share a stream. Values are part of the
/// on-disk promise (a resumed run draws the same numbers), so that they are only ever added.
enum class Purpose : std::uint32_t {
  initialise = 1,
  shuffle = 2,
  augment = 3,
  dropout = 4,
  drop_path = 5,
  split = 6,
  synthetic = 7,
  channel_drop = 16,
  channel_sampling = 17,
  mixing = 18,
  bootstrap = 19,
  masking = 20,
  sentences = 21,
};

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four random words
/// for a counter and a key, without any state.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) noexcept;

/// What a stream of random numbers depends on, and all that it depends on: never on rank, thread, device or
/// time.
struct RandomKey {
  std::uint64_t seed = 0;
  Purpose purpose = Purpose::initialise;
  std::int64_t time = 0;    ///< training step or epoch; 0 if there is none
  std::int64_t sample = 0;  ///< dataset row, or what else the numbers belong to
  std::uint32_t layer = 0;  ///< layer or other number that keeps streams of one sample apart
};

/// The key of Philox that all streams share which differ in sample and layer alone. The counter of block b,
/// of values 4 b … 4 b + 3, is {b, layer, low and high word of the sample}. For device code.
std::array<std::uint32_t, 2> philox_key(const RandomKey& key) noexcept;

/// Numbers of one key, in order. A value type: copying it copies the position. Satisfies
/// UniformRandomBitGenerator, but prefer the functions below: the distributions of <random> differ between
/// standard libraries, these do not.
class RandomStream {
 public:
  using result_type = std::uint32_t;

  explicit RandomStream(const RandomKey& key) noexcept;

  static constexpr result_type min() noexcept { return 0; }
  static constexpr result_type max() noexcept { return UINT32_MAX; }
  result_type operator()() noexcept;

  /// In [0, 1), a multiple of 2^-24: exact in float.
  float uniform() noexcept;
  /// In [low, high).
  double uniform(double low, double high) noexcept;
  /// In {0 … bound-1}, without bias (Lemire 2019). Precondition: bound > 0.
  std::uint64_t below(std::uint64_t bound) noexcept;
  /// Standard normal (Box–Muller).
  double normal() noexcept;
  /// `values` in [0, 1), as uniform() would give them one by one; the fast way to fill a tensor.
  void fill_uniform(std::span<float> values) noexcept;

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> words_{};
  unsigned used_ = 4;
};

/// 0 … count-1 in random order (Fisher–Yates); the same on every machine.
std::vector<std::int64_t> permutation(std::int64_t count, RandomStream stream);

/// A random order of 0 … size-1 that takes no memory, whatever the size: what stands at a place is computed,
/// in some 50 ns. A Feistel network of 6 rounds over the smallest even power of two that holds all values,
/// applied again while its value lies outside (cycle walking: Black and Rogaway, "Ciphers with arbitrary
/// finite domains", CT-RSA 2002). Up to 64 values lie in a table instead (Fisher–Yates), where such a network
/// would miss most orders. The same on every machine.
class Permutation {
 public:
  /// Precondition: size ≥ 0.
  Permutation(std::int64_t size, RandomStream stream);
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  /// The value at `place`. Precondition: 0 ≤ place < size().
  [[nodiscard]] std::int64_t operator()(std::int64_t place) const noexcept;

 private:
  static constexpr int kRounds = 6;
  static constexpr std::int64_t kTableSize = 64;

  [[nodiscard]] std::uint64_t encrypt(std::uint64_t value) const noexcept;

  std::int64_t size_;
  int half_bits_ = 0;
  std::array<std::uint64_t, kRounds> keys_{};
  std::array<std::uint8_t, kTableSize> table_{};
};

}  // namespace cohort
