#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "cohort/data/description.h"

namespace cohort::data {

/// The type of this name (pixel_type_name); nothing for others.
std::optional<PixelType> pixel_type_of(std::string_view name) noexcept;

/// Bytes of one value.
std::int64_t pixel_type_bytes(PixelType type) noexcept;

/// Calls `visit(pointer)` with `pixels` as what they are: const std::uint8_t*, const std::uint16_t* or const
/// float*. `pixels` is aligned for its type.
template <class Visit>
decltype(auto) visit_pixels(PixelType type, const std::byte* pixels, Visit&& visit) {
  const void* start = pixels;
  if (type == PixelType::u8) return visit(static_cast<const std::uint8_t*>(start));
  if (type == PixelType::u16) return visit(static_cast<const std::uint16_t*>(start));
  return visit(static_cast<const float*>(start));
}

}  // namespace cohort::data
