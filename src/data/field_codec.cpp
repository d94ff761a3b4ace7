#include "data/field_codec.h"

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/data/image_codec.h"

#include "data/codec_library.h"

namespace cohort::data {
namespace {

/// A mask is an image of one channel. Precondition: u8, u16 or f32; no volume.
ImageLayout layout_of(const Field& field) {
  const std::vector<std::int64_t>& shape = field.shape;
  const PixelType type = field.type == ValueType::u8    ? PixelType::u8
                         : field.type == ValueType::u16 ? PixelType::u16
                                                        : PixelType::f32;
  if (field.kind == FieldKind::mask) return {type, 1, shape[0], shape[1]};
  return {type, shape[0], shape[1], shape[2]};
}

std::int64_t decoded_bytes(const Field& field, std::span<const std::byte> stored) {
  if (!field.differs()) {
    const bool is_row = field.codec != Codec::zstd ||
                        decoded_zstd_bytes(stored) == static_cast<std::uint64_t>(field.entry_bytes());
    if (!is_row) fail_codec(fmt::format("the frame is no row of '{}'", field.name));
    return field.entry_bytes();
  }
  constexpr std::uint64_t kMostRatio = 1
                                       << 16;  // zstd packs no more into a byte: more is not worth its memory
  const std::uint64_t bytes = field.codec == Codec::raw ? stored.size() : decoded_zstd_bytes(stored);
  if (bytes > kMostDifferingBytes || bytes / kMostRatio > stored.size() ||
      bytes % static_cast<std::uint64_t>(field.entry_bytes()) != 0)
    fail_codec(fmt::format("{} bytes are no row of '{}'", bytes, field.name));
  return static_cast<std::int64_t>(bytes);
}

}  // namespace

std::vector<std::byte> encode_field(const Field& field, std::span<const std::byte> values) {
  if (field.codec == Codec::raw) return {values.begin(), values.end()};
  if (field.codec == Codec::zstd)
    return encode_zstd(values, static_cast<std::size_t>(value_type_bytes(field.type)));
  return encode_image(field.codec, layout_of(field), 0, values);
}

void decode_field(const Field& field, std::span<const std::byte> stored, std::vector<std::byte>& values) {
  values.resize(static_cast<std::size_t>(decoded_bytes(field, stored)));
  if (field.codec == Codec::zstd)
    return decode_zstd(stored, values, static_cast<std::size_t>(value_type_bytes(field.type)));
  if (field.codec != Codec::raw) return decode_image(field.codec, layout_of(field), stored, values);
  if (stored.size() != values.size())
    fail_codec(fmt::format("{} bytes instead of {}", stored.size(), values.size()));
  values.assign(stored.begin(), stored.end());
}

}  // namespace cohort::data
