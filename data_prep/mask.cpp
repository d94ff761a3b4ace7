#include "data_prep/mask.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/pixel_type.h"

#include "data_prep/image_file.h"
#include "data_prep/npz.h"

namespace cohort::data_prep {
namespace {

using data::ValueType;

template <class Value>
void append(const std::string& bytes, std::vector<std::int32_t>& values, const std::string& where) {
  for (std::size_t at = 0; at + sizeof(Value) <= bytes.size(); at += sizeof(Value)) {
    Value value;
    std::memcpy(&value, bytes.data() + at, sizeof(Value));
    if (std::cmp_greater(value, INT32_MAX) || std::cmp_less(value, INT32_MIN))
      fail_decoding(fmt::format("the mask holds {}, which does not fit in 32 bits", value), where);
    values.push_back(static_cast<std::int32_t>(value));
  }
}

Mask mask_of_array(const std::string& content, const std::string& where) {
  const Array array = parse_npy(content, where, where);
  const std::size_t dimensions = array.shape.size();
  if (dimensions != 2 && dimensions != 3)
    fail_decoding(
        fmt::format("an array of {} dimensions is no mask: [H, W] is, or [D, H, W] of a volume", dimensions),
        where);
  const bool is_small = array.type == "u1" || array.type == "b1";
  Mask mask{array.shape[dimensions - 2], array.shape.back(), is_small ? ValueType::u8 : ValueType::i32, {}};
  if (dimensions == 3) mask.depth = array.shape.front();
  if (is_small)
    append<std::uint8_t>(array.bytes, mask.values, where);
  else if (array.type == "u2")
    append<std::uint16_t>(array.bytes, mask.values, where);
  else if (array.type == "i4")
    append<std::int32_t>(array.bytes, mask.values, where);
  else if (array.type == "i8")
    append<std::int64_t>(array.bytes, mask.values, where);
  else
    fail_decoding(fmt::format("an array of type {} is no mask: integers are", array.type), where);
  if (mask.values.empty()) fail_decoding("the array is empty", where);
  return mask;
}

/// A gray mask that was saved in colour would have numbers of 65,793 and more.
void refuse_gray_colours(const Image& image, const std::string& where) {
  const auto plane = static_cast<std::ptrdiff_t>(image.layout.height * image.layout.width);
  const auto begin = image.pixels.begin(), end = image.pixels.end();
  const bool is_empty = std::all_of(begin, end, [](std::byte value) { return value == std::byte{0}; });
  const bool is_gray = std::equal(begin, end - plane, begin + plane);
  if (is_gray && !is_empty)
    throw DataError({"the mask is gray, saved in colour: its three channels are equal everywhere", where,
                     "save it with one channel"});
}

/// Instances as colours, as the masks of panoptic COCO are (github.com/cocodataset/panopticapi).
Mask mask_of_colours(const Image& image, const std::string& where) {
  refuse_gray_colours(image, where);
  const auto plane = static_cast<std::size_t>(image.layout.height * image.layout.width);
  Mask mask{image.layout.height, image.layout.width, ValueType::i32, std::vector<std::int32_t>(plane)};
  const auto value = [&](std::size_t channel, std::size_t i) {
    return static_cast<std::int32_t>(image.pixels[channel * plane + i]);
  };
  for (std::size_t i = 0; i < plane; ++i)
    mask.values[i] = value(0, i) + 256 * value(1, i) + 65536 * value(2, i);
  return mask;
}

/// `is_lossy`: colours are not those of instances any more.
Mask mask_of_image(const Image& image, bool is_lossy, const std::string& where) {
  const data::ImageLayout& layout = image.layout;
  const bool is_8_bit = layout.type == data::PixelType::u8;
  if (layout.channels == 3 && is_8_bit && !is_lossy) return mask_of_colours(image, where);
  if (layout.channels != 1 || layout.type == data::PixelType::f32)
    fail_decoding(
        fmt::format("{} channels of {} are no mask: one of u8 or u16 is, the number of a class or "
                    "of an instance in each pixel, or 8-bit RGB of PNG or TIFF, a colour for each instance",
                    layout.channels, data::pixel_type_name(layout.type)),
        where);
  Mask mask{layout.height, layout.width, is_8_bit ? ValueType::u8 : ValueType::i32, {}};
  data::visit_pixels(layout.type, image.pixels.data(), [&](const auto* values) {
    for (std::int64_t i = 0; i < layout.values(); ++i)
      mask.values.push_back(static_cast<std::int32_t>(values[i]));
  });
  return mask;
}

constexpr std::int32_t kUnknown = 255;  // of masks of 8 bits

/// Two classes are often kept as black and white.
void refuse_black_and_white(const Mask& mask, const data::Field& field, const std::string& where) {
  if (field.names.size() != 2 || mask.type != ValueType::u8) return;
  const auto count = [&](std::int32_t value) {
    return std::count(mask.values.begin(), mask.values.end(), value);
  };
  const std::int64_t white = count(kUnknown);
  if (white == 0 || white + count(0) != std::ssize(mask.values)) return;
  throw DataError(
      {"the mask has pixels of 0 and 255 alone, and 255 means not known", where,
       fmt::format("say which values are the classes: --mask-values {0}=0,255 ({0}=0,1 where 255 does "
                   "mean not known)",
                   field.name)});
}

/// In the type of the field; -1 is 255 in u8.
std::vector<std::byte> stored_mask(const Mask& mask, const data::Field& field, const std::string& where) {
  if (field.type == ValueType::i32) {
    const auto values = std::as_bytes(std::span(mask.values));
    return {values.begin(), values.end()};
  }
  std::vector<std::byte> bytes;
  for (const std::int32_t value : mask.values) {
    if (value < -1 || value > 255)
      throw DataError({fmt::format("the mask holds {}, that of the first image only 0 to 255", value), where,
                       "give all masks one type: 8 bits, or more"});
    bytes.push_back(static_cast<std::byte>(value));
  }
  return bytes;
}

/// "64 x 48", of volumes "32 x 64 x 48".
std::string text_of(const Extent& extent) {
  const std::string depth = extent.depth > 1 ? fmt::format("{} x ", extent.depth) : "";
  return fmt::format("{}{} x {}", depth, extent.height, extent.width);
}

void check_mask_size(const Mask& mask, const ImageChange& change, const std::string& where) {
  const bool fits = mask.height == change.height && mask.width == change.width && mask.depth == change.depth;
  if (change.height == 0 || fits) return;
  throw DataError(
      {fmt::format("the mask has {} pixels, its image {}", text_of({mask.height, mask.width, mask.depth}),
                   text_of({change.height, change.width, change.depth})),
       where, "give both one size"});
}

/// What is asked for where along an axis a pixel of a moved mask comes from.
struct MovedAxis {
  std::int64_t from, scaled, corner, size;  ///< as Scaling has them
};

/// Of each pixel of the result the nearest one of the mask; -1: none.
std::vector<std::int64_t> nearest(const MovedAxis& axis) {
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < axis.size; ++i) {
    const std::int64_t at = i - axis.corner;
    const bool inside = at >= 0 && at < axis.scaled;
    places.push_back(inside ? (2 * at + 1) * axis.from / (2 * axis.scaled) : -1);
  }
  return places;
}

}  // namespace

Mask read_mask(const std::filesystem::path& file) {
  if (!std::filesystem::is_regular_file(file))
    throw DataError({"the file of a mask is missing", file.string(), "restore it or leave the image out"});
  const std::string content = read_file(file);
  if (content.starts_with("\x93NUMPY")) return mask_of_array(content, file.string());
  using namespace std::string_view_literals;
  const bool is_png = content.starts_with("\x89PNG\r\n"sv), is_jpeg = content.starts_with("\xFF\xD8"sv);
  return mask_of_image(is_png ? decode_png(content, file.string(), PngSamples::as_stored)
                              : decode_image(content, file.string()),
                       is_jpeg, file.string());
}

Mask mask_of_classes(Mask mask, const MaskValues& values, const data::Field& field,
                     const std::string& where) {
  if (values.empty()) {
    refuse_black_and_white(mask, field, where);
    return mask;
  }
  for (std::int32_t& value : mask.values) {
    const auto found = std::find(values.begin(), values.end(), value);
    value = found == values.end() ? -1 : static_cast<std::int32_t>(found - values.begin());
  }
  if (values.size() <= kUnknown) mask.type = ValueType::u8;
  return mask;
}

Mask moved(const Mask& mask, const data::Preparation& preparation) {
  if (preparation.height == 0) return mask;
  const Scaling scaling = scaling_of({mask.height, mask.width, mask.depth}, preparation);
  Mask result{preparation.height, preparation.width, mask.type, {}};
  result.depth = preparation.depth > 0 ? preparation.depth : mask.depth;
  const std::vector<std::int64_t> slices = nearest({mask.depth, scaling.depth, scaling.front, result.depth}),
                                  rows = nearest({mask.height, scaling.height, scaling.top, result.height}),
                                  columns = nearest({mask.width, scaling.width, scaling.left, result.width});
  for (const std::int64_t z : slices) {
    for (const std::int64_t y : rows) {
      for (const std::int64_t x : columns) {
        const bool inside = std::min({z, y, x}) >= 0;
        const std::int64_t from = (z * mask.height + y) * mask.width + x;
        result.values.push_back(inside ? mask.values[static_cast<std::size_t>(from)] : -1);
      }
    }
  }
  return result;
}

std::vector<std::byte> mask_values(const Mask& mask, const data::Field& field, const ImageChange& change,
                                   const std::string& where) {
  check_mask_size(mask, change, where);
  return stored_mask(moved(mask, change.preparation), field, where);
}

}  // namespace cohort::data_prep
