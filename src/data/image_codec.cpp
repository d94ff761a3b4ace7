#include "cohort/data/image_codec.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/data/pixel_type.h"

#include "data/codec_library.h"

namespace cohort::data {
namespace {

constexpr std::array kCodecs{Codec::raw, Codec::png, Codec::jpeg, Codec::zstd};

[[noreturn]] void refuse_codec(Codec codec, const std::string& why, const std::string& fix) {
  throw UsageError({fmt::format("codec {} cannot keep {}", codec_name(codec), why), "--codec", fix});
}

}  // namespace

std::string_view codec_name(Codec codec) noexcept {
  constexpr std::array<std::string_view, 4> kNames{"raw", "png", "jpeg", "zstd"};
  return kNames.at(static_cast<std::size_t>(codec));
}

std::optional<Codec> codec_of(std::string_view name) noexcept {
  for (const Codec codec : kCodecs) {
    if (name == codec_name(codec)) return codec;
  }
  return std::nullopt;
}

std::vector<std::string> codec_names() {
  std::vector<std::string> names;
  for (const Codec codec : kCodecs) names.emplace_back(codec_name(codec));
  return names;
}

void check_codec(Codec codec, const ImageLayout& layout) {
  constexpr std::int64_t kJpegSide = 65'500, kPngSide = INT32_MAX;
  if (codec == Codec::raw || codec == Codec::zstd) return;
  if (layout.is_volume())
    refuse_codec(codec, fmt::format("volumes, of depth {}", layout.depth), "--codec zstd, or raw");
  const bool fits = layout.type == PixelType::u8 || (codec == Codec::png && layout.type == PixelType::u16);
  if (!fits)
    refuse_codec(codec, fmt::format("pixels of type {}", pixel_type_name(layout.type)), "--codec zstd");
  const Interleaved shape = interleaved_layout(layout);
  const std::int64_t side = codec == Codec::jpeg ? kJpegSide : kPngSide;
  if (std::max(shape.height, shape.width) > side)
    refuse_codec(codec, fmt::format("an image of {} × {} pixels", shape.height, shape.width),
                 "--codec zstd, or --codec png");
}

std::span<std::byte> scratch(std::size_t bytes) {
  thread_local std::vector<std::byte> memory;
  memory.resize(bytes);
  return memory;
}

void fail_codec(const std::string& reason) {
  throw DataError({reason, "", "convert the images again"});
}

std::vector<std::byte> encode_image(Codec codec, const ImageLayout& layout, int jpeg_quality,
                                    std::span<const std::byte> image) {
  if (codec == Codec::raw) return {image.begin(), image.end()};
  if (codec == Codec::zstd)
    return encode_zstd(image, static_cast<std::size_t>(pixel_type_bytes(layout.type)));
  const std::span<std::byte> ordered = scratch(image.size());
  interleave(layout, image, ordered);
  const Interleaved shape = interleaved_layout(layout);
  if (codec == Codec::png) return encode_png(shape, layout.type, ordered);
  return encode_jpeg(shape, jpeg_quality, ordered);
}

void decode_image(Codec codec, const ImageLayout& layout, std::span<const std::byte> encoded,
                  std::span<std::byte> image) {
  COHORT_CHECK(std::ssize(image) == layout.bytes(), "{} bytes for an image of {}", image.size(),
               layout.bytes());
  if (codec == Codec::raw) {
    COHORT_CHECK(encoded.size() == image.size(), "{} bytes of an image of {}", encoded.size(), image.size());
    std::copy(encoded.begin(), encoded.end(), image.begin());
    return;
  }
  if (codec == Codec::zstd)
    return decode_zstd(encoded, image, static_cast<std::size_t>(pixel_type_bytes(layout.type)));
  const std::span<std::byte> ordered = scratch(image.size());
  const Interleaved shape = interleaved_layout(layout);
  if (codec == Codec::png) decode_png(encoded, shape, layout.type, ordered);
  if (codec == Codec::jpeg) decode_jpeg(encoded, shape, ordered);
  deinterleave(layout, ordered, image);
}

}  // namespace cohort::data
