#pragma once
#include <cstdint>

#include "support/philox.h"

namespace cohort::nn {

/// Uniform numbers [images, count], row i those of the stream of sample[i].
struct KeyedUniform {
  const std::int64_t* sample;  ///< [images]
  float* values;               ///< [images, count]
  std::int64_t count;
  std::uint32_t key0, key1, layer;  ///< philox_key(), and RandomKey::layer
};

/// Four neighbouring values of an image, number 4 · block and following, as RandomStream::fill_uniform gives
/// them.
COHORT_DEVICE_CODE void fill_block(const KeyedUniform& of, std::int64_t image, std::int64_t block) {
  const auto sample = static_cast<std::uint64_t>(of.sample[image]);
  std::uint32_t words[4] = {static_cast<std::uint32_t>(block), of.layer, static_cast<std::uint32_t>(sample),
                            static_cast<std::uint32_t>(sample >> 32)};
  philox_rounds(words, of.key0, of.key1);
  for (std::int64_t i = 0; i < 4 && 4 * block + i < of.count; ++i)
    of.values[image * of.count + 4 * block + i] = uniform_of_word(words[i]);
}

}  // namespace cohort::nn
