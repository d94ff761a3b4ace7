#include <cstdarg>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>
#include <tiffio.h>

#include "cohort/core/handle.h"
#include "cohort/data/pixel_type.h"

#include "data_prep/image_file.h"

namespace cohort::data_prep {
namespace {

struct TiffTraits {
  using type = TIFF*;
  static type null() noexcept { return nullptr; }
  static void close(type tiff) noexcept { TIFFClose(tiff); }
};
using Tiff = Handle<TiffTraits>;

std::string& last_error() {
  static thread_local std::string text;
  return text;
}

void keep_error(const char*, const char* format, va_list values) {
  char text[256];
  std::vsnprintf(text, sizeof text, format, values);
  last_error() = text;
}

/// What libtiff reads from.
struct Memory {
  std::string_view content;
  std::size_t at = 0;
};

tsize_t read_memory(thandle_t handle, void* out, tsize_t count) {
  auto& memory = *static_cast<Memory*>(handle);
  const std::size_t left = memory.content.size() - memory.at;
  const std::size_t taken = std::min(left, static_cast<std::size_t>(count));
  std::memcpy(out, memory.content.data() + memory.at, taken);
  memory.at += taken;
  return static_cast<tsize_t>(taken);
}

toff_t seek_memory(thandle_t handle, toff_t offset, int from) {
  auto& memory = *static_cast<Memory*>(handle);
  if (from == SEEK_CUR) offset += memory.at;
  if (from == SEEK_END) offset += memory.content.size();
  memory.at = std::min<std::size_t>(offset, memory.content.size());
  return memory.at;
}

Tiff open_tiff(Memory& memory, const std::string& where) {
  TIFFSetErrorHandler(keep_error);
  TIFFSetWarningHandler(nullptr);
  Tiff tiff(TIFFClientOpen(
      where.c_str(), "rm", &memory, read_memory, [](thandle_t, void*, tsize_t) -> tsize_t { return 0; },
      seek_memory, [](thandle_t) { return 0; },
      [](thandle_t handle) -> toff_t { return static_cast<Memory*>(handle)->content.size(); }, nullptr,
      nullptr));
  if (!tiff) fail_decoding("TIFF: " + last_error(), where);
  return tiff;
}

template <class Value>
Value field(const Tiff& tiff, ttag_t tag) {
  Value value{};
  TIFFGetFieldDefaulted(tiff.get(), tag, &value);
  return value;
}

data::PixelType pixel_type(const Tiff& tiff, const std::string& where) {
  const auto bits = field<std::uint16_t>(tiff, TIFFTAG_BITSPERSAMPLE);
  const auto format = field<std::uint16_t>(tiff, TIFFTAG_SAMPLEFORMAT);
  if (format == SAMPLEFORMAT_UINT && bits == 8) return data::PixelType::u8;
  if (format == SAMPLEFORMAT_UINT && bits == 16) return data::PixelType::u16;
  if (format == SAMPLEFORMAT_IEEEFP && bits == 32) return data::PixelType::f32;
  fail_decoding(fmt::format("TIFF: {} bits of sample format {} are not supported", bits, format), where);
}

void check_variant(const Tiff& tiff, const std::string& where) {
  const auto photometric = field<std::uint16_t>(tiff, TIFFTAG_PHOTOMETRIC);
  if (photometric != PHOTOMETRIC_MINISBLACK && photometric != PHOTOMETRIC_RGB) {
    fail_decoding(fmt::format("TIFF: photometric interpretation {} is not supported", photometric), where);
  }
  if (TIFFIsTiled(tiff.get()) != 0) fail_decoding("TIFF: tiled files are not supported", where);
  const bool one_plane = field<std::uint16_t>(tiff, TIFFTAG_PLANARCONFIG) == PLANARCONFIG_CONTIG;
  if (!one_plane) fail_decoding("TIFF: separate colour planes are not supported", where);
  if (TIFFNumberOfDirectories(tiff.get()) != 1) fail_decoding("TIFF: it has more than one page", where);
}

}  // namespace

Image decode_tiff(std::string_view content, const std::string& where) {
  Memory memory{content};
  const Tiff tiff = open_tiff(memory, where);
  check_variant(tiff, where);
  const auto stored = static_cast<std::int64_t>(field<std::uint16_t>(tiff, TIFFTAG_SAMPLESPERPIXEL));
  const bool colour = field<std::uint16_t>(tiff, TIFFTAG_PHOTOMETRIC) == PHOTOMETRIC_RGB;
  const data::ImageLayout layout{pixel_type(tiff, where), colour ? 3 : 1,
                                 field<std::uint32_t>(tiff, TIFFTAG_IMAGELENGTH),
                                 field<std::uint32_t>(tiff, TIFFTAG_IMAGEWIDTH)};
  if (!is_plausible({layout.type, stored, layout.height, layout.width}, content.size()))
    fail_decoding("TIFF: it claims more pixels than it can hold", where);
  if (stored < layout.channels || layout.values() == 0) fail_decoding("TIFF: it has no pixels", where);
  const auto stride = static_cast<std::size_t>(TIFFScanlineSize(tiff.get()));
  if (stride != static_cast<std::size_t>(layout.width * stored * data::pixel_type_bytes(layout.type)))
    fail_decoding("TIFF: its lines have another length than its width says", where);
  std::vector<std::byte> pixels(stride * static_cast<std::size_t>(layout.height));  // [H, W, stored]
  for (std::int64_t y = 0; y < layout.height; ++y) {
    void* row = pixels.data() + static_cast<std::size_t>(y) * stride;
    if (TIFFReadScanline(tiff.get(), row, static_cast<std::uint32_t>(y), 0) != 1) {
      fail_decoding("TIFF: " + last_error(), where);
    }
  }
  return from_interleaved(layout, stored, pixels.data());
}

}  // namespace cohort::data_prep
