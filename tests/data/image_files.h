#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <vector>

#include <png.h>

#include "data_prep/image.h"

namespace cohort::testing {

/// Writes a PNG of `channels` (1 or 3) interleaved 8-bit values.
inline void write_png(const std::filesystem::path& file, std::uint32_t height, std::uint32_t width,
                      int channels, const std::vector<std::uint8_t>& values) {
  std::filesystem::create_directories(file.parent_path());
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  if (png_image_write_to_file(&image, file.c_str(), 0, values.data(), 0, nullptr) == 0) {
    throw std::runtime_error(image.message);
  }
}

/// The pixels of an image whose type is T.
template <class T>
std::vector<T> values_of(const data_prep::Image& image) {
  std::vector<T> values(image.pixels.size() / sizeof(T));
  std::memcpy(values.data(), image.pixels.data(), image.pixels.size());
  return values;
}

}  // namespace cohort::testing
