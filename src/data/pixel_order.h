#pragma once
#include <cstddef>
#include <span>

#include "cohort/data/description.h"

namespace cohort::data {

/// How the pixels of an image lie in a PNG or JPEG: [height, width, channels].
struct Interleaved {
  std::int64_t height, width, channels;
  [[nodiscard]] std::size_t row_bytes(PixelType type) const noexcept;
};

/// 1 and 3 channels as they are; the planes of any other number below each other.
Interleaved interleaved_layout(const ImageLayout& layout) noexcept;

/// [C, H, W] to that layout and back; sizes are layout.bytes().
void interleave(const ImageLayout& layout, std::span<const std::byte> planes, std::span<std::byte> pixels);
void deinterleave(const ImageLayout& layout, std::span<const std::byte> pixels, std::span<std::byte> planes);

}  // namespace cohort::data
