#include "cohort/data/pixel_type.h"

namespace cohort::data {

std::string_view pixel_type_name(PixelType type) noexcept {
  if (type == PixelType::u8) return "u8";
  return type == PixelType::u16 ? "u16" : "f32";
}

std::optional<PixelType> pixel_type_of(std::string_view name) noexcept {
  for (const PixelType type : {PixelType::u8, PixelType::u16, PixelType::f32}) {
    if (name == pixel_type_name(type)) return type;
  }
  return std::nullopt;
}

std::int64_t pixel_type_bytes(PixelType type) noexcept {
  if (type == PixelType::u8) return 1;
  return type == PixelType::u16 ? 2 : 4;
}

std::int64_t ImageLayout::bytes() const noexcept {
  return values() * pixel_type_bytes(type);
}

std::vector<std::int64_t> ImageLayout::sizes() const {
  if (is_volume()) return {channels, depth, height, width};
  return {channels, height, width};
}

}  // namespace cohort::data
