#include "data/pixel_order.h"

#include <type_traits>

#include "cohort/data/pixel_type.h"

namespace cohort::data {
namespace {

/// out[j][i] = in[i][j] of `rows` × `columns` values.
template <class Value>
void transpose(const Value* in, Value* out, std::int64_t rows, std::int64_t columns) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) out[j * rows + i] = in[i * columns + j];
  }
}

void transpose(PixelType type, std::span<const std::byte> in, std::span<std::byte> out, std::int64_t rows,
               std::int64_t columns) {
  void* target = out.data();
  visit_pixels(type, in.data(), [&](const auto* values) {
    transpose(values, static_cast<std::remove_cvref_t<decltype(*values)>*>(target), rows, columns);
  });
}

}  // namespace

std::size_t Interleaved::row_bytes(PixelType type) const noexcept {
  return static_cast<std::size_t>(ImageLayout{type, channels, 1, width}.bytes());
}

Interleaved interleaved_layout(const ImageLayout& layout) noexcept {
  if (layout.channels == 3) return {layout.height, layout.width, 3};
  return {layout.channels * layout.height, layout.width, 1};
}

void interleave(const ImageLayout& layout, std::span<const std::byte> planes, std::span<std::byte> pixels) {
  const std::int64_t channels = interleaved_layout(layout).channels;
  transpose(layout.type, planes, pixels, channels, layout.values() / channels);
}

void deinterleave(const ImageLayout& layout, std::span<const std::byte> pixels, std::span<std::byte> planes) {
  const std::int64_t channels = interleaved_layout(layout).channels;
  transpose(layout.type, pixels, planes, layout.values() / channels, channels);
}

}  // namespace cohort::data
