#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/data/description.h"

namespace cohort::data {

/// "raw", "png", "jpeg", "zstd".
std::string_view codec_name(Codec codec) noexcept;
std::optional<Codec> codec_of(std::string_view name) noexcept;
std::vector<std::string> codec_names();

/// Throws UsageError when images of `layout` cannot be kept in `codec`: jpeg takes u8 only, png u8 and u16,
/// each with limits on the size; neither takes volumes.
void check_codec(Codec codec, const ImageLayout& layout);

/// `image` [C, H, W], or a volume [C, D, H, W], as it is kept. Images of 1 or 3 channels become ordinary PNG
/// or JPEG files; with any other number the channels lie below each other in one gray image of C·H × W. zstd
/// keeps the bytes of the pixels, those of u16 and f32 ordered by significance first, a frame an image.
/// Everything but jpeg is lossless; jpeg has no chroma subsampling. The result depends on the image alone.
/// Precondition: check_codec(). From any thread.
std::vector<std::byte> encode_image(Codec codec, const ImageLayout& layout, int jpeg_quality,
                                    std::span<const std::byte> image);

/// The inverse: fills `image` [C, H, W] of `layout`. Throws DataError saying why when `encoded` is no such
/// image. From any thread.
void decode_image(Codec codec, const ImageLayout& layout, std::span<const std::byte> encoded,
                  std::span<std::byte> image);

}  // namespace cohort::data
