#include "data_prep/image_file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/pixel_type.h"

#include "data_prep/axes.h"
#include "data_prep/npz.h"
#include "data_prep/ome_tiff.h"

namespace cohort::data_prep {

using namespace std::string_view_literals;

Image decode_image(std::string_view content, const std::string& where, const std::string& axes) {
  if (content.starts_with("\x89PNG\r\n"sv)) return decode_png(content, where);
  if (content.starts_with("\xff\xd8\xff"sv)) return decode_jpeg(content, where);
  for (const std::string_view start : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv}) {  // + is BigTIFF
    if (content.starts_with(start)) return decode_tiff(content, where);
  }
  if (content.starts_with("\x93NUMPY"sv)) return decode_npy(content, where, axes);
  fail_decoding(content.empty() ? "the file is empty" : "it is neither PNG nor JPEG nor TIFF nor npy", where);
}

Image read_image(const std::filesystem::path& file, const std::string& axes) {
  if (!std::filesystem::exists(file)) {
    throw DataError({"the image file is missing", file.string(), "restore it or take it off the list"});
  }
  if (is_called_ome_tiff(file)) return read_ome_tiff(file);
  return decode_image(read_file(file), file.string(), axes);
}

bool has_image_name(const std::filesystem::path& file) {
  constexpr std::array kEndings{".png"sv, ".jpg"sv, ".jpeg"sv, ".tif"sv, ".tiff"sv, ".npy"sv};
  std::string ending = file.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end();
}

Image decode_npy(std::string_view content, const std::string& where, const std::string& axes_wanted) {
  const Array array = parse_npy(std::string(content), where, where);
  const std::optional<data::PixelType> type = array.type == "u1"   ? std::optional(data::PixelType::u8)
                                              : array.type == "u2" ? std::optional(data::PixelType::u16)
                                              : array.type == "f4" ? std::optional(data::PixelType::f32)
                                                                   : std::nullopt;
  const std::size_t dimensions = array.shape.size();
  if (!type || dimensions < 2 || dimensions > (axes_wanted.empty() ? 3 : 4))
    fail_decoding(
        fmt::format("an array of type {} with {} dimensions is no image: [H, W], [C, H, W] or [H, W, "
                    "C] of uint8, uint16 or float32 is, and what --axes names",
                    array.type, dimensions),
        where);
  const Axes axes = axes_of(array.shape, axes_wanted, false, where);
  Image image{{*type, axes.channels, axes.height, axes.width, axes.depth}, {}};
  if (image.layout.bytes() <= 0) fail_decoding("the array is empty", where);
  image.pixels.resize(array.bytes.size());
  std::memcpy(image.pixels.data(), array.bytes.data(), array.bytes.size());
  return axes.channels_last() ? from_interleaved(image.layout, image.pixels.data()) : image;
}

bool is_plausible(const data::ImageLayout& layout, std::size_t file_bytes) noexcept {
  constexpr double kMostRatio = 16384.0;
  double bytes = static_cast<double>(data::pixel_type_bytes(layout.type));
  for (const std::int64_t size : layout.sizes()) bytes *= static_cast<double>(size);
  return bytes <= kMostRatio * static_cast<double>(file_bytes);
}

void fail_decoding(const std::string& reason, const std::string& where) {
  throw DataError({"the image cannot be read: " + reason, where, "replace the file or leave it out"});
}

}  // namespace cohort::data_prep
