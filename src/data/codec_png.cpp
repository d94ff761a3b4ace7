#include <csetjmp>
#include <cstring>

#include <fmt/format.h>
#include <png.h>

#include "data/codec_library.h"

namespace cohort::data {
namespace {

void ignore_warning(png_structp /*png*/, png_const_charp /*message*/) {}

/// libpng reports errors by longjmp: no object with a destructor may live in a function that calls it.
struct PngError {
  std::string reason;

  static void raise(png_structp png, png_const_charp message) {
    static_cast<PngError*>(png_get_error_ptr(png))->reason = message;
    png_longjmp(png, 1);
  }
};

/// First byte of every line.
std::vector<png_bytep> lines_of(const Interleaved& shape, PixelType type, std::span<std::byte> pixels) {
  std::vector<png_bytep> lines;
  for (std::size_t y = 0; y < static_cast<std::size_t>(shape.height); ++y) {
    void* line = pixels.data() + y * shape.row_bytes(type);
    lines.push_back(static_cast<png_bytep>(line));
  }
  return lines;
}

class PngWriter {
 public:
  PngWriter() {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, &error_, PngError::raise, ignore_warning);
    info_ = png_create_info_struct(png_);
  }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }

  bool write(const Interleaved& shape, PixelType type, std::vector<png_bytep>& lines) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_write_fn(png_, this, append, [](png_structp) {});
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(shape.width), static_cast<png_uint_32>(shape.height),
                 type == PixelType::u16 ? 16 : 8,
                 shape.channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    if (type == PixelType::u16) png_set_swap(png_);
    png_write_image(png_, lines.data());
    png_write_end(png_, nullptr);
    return true;
  }

  [[nodiscard]] const std::string& reason() const { return error_.reason; }
  std::vector<std::byte> encoded;

 private:
  static void append(png_structp png, png_bytep bytes, std::size_t count) {
    auto& encoded = static_cast<PngWriter*>(png_get_io_ptr(png))->encoded;
    const void* start = bytes;
    const auto* first = static_cast<const std::byte*>(start);
    encoded.insert(encoded.end(), first, first + count);
  }

  PngError error_;
  png_structp png_;
  png_infop info_;
};

class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> encoded) : rest_(encoded) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &error_, PngError::raise, ignore_warning);
    info_ = png_create_info_struct(png_);
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  bool read(const Interleaved& shape, PixelType type, std::vector<png_bytep>& lines) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_read_fn(png_, this, take);
    png_read_info(png_, info_);
    if (!has_layout(shape, type)) png_error(png_, "it has another size, type or number of channels");
    if (type == PixelType::u16) png_set_swap(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    png_read_image(png_, lines.data());
    png_read_end(png_, nullptr);
    return true;
  }

  [[nodiscard]] const std::string& reason() const { return error_.reason; }

 private:
  static void take(png_structp png, png_bytep out, std::size_t count) {
    auto& rest = static_cast<PngReader*>(png_get_io_ptr(png))->rest_;
    if (rest.size() < count) png_error(png, "it ends too early");
    std::memcpy(out, rest.data(), count);
    rest = rest.subspan(count);
  }
  bool has_layout(const Interleaved& shape, PixelType type) {
    const int colour = shape.channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY;
    return png_get_image_width(png_, info_) == shape.width &&
           png_get_image_height(png_, info_) == shape.height && png_get_color_type(png_, info_) == colour &&
           png_get_bit_depth(png_, info_) == (type == PixelType::u16 ? 16 : 8);
  }

  PngError error_;
  png_structp png_;
  png_infop info_;
  std::span<const std::byte> rest_;
};

}  // namespace

std::vector<std::byte> encode_png(const Interleaved& shape, PixelType type, std::span<std::byte> pixels) {
  std::vector<png_bytep> lines = lines_of(shape, type, pixels);
  PngWriter writer;
  if (!writer.write(shape, type, lines)) fail_codec("PNG: " + writer.reason());
  return std::move(writer.encoded);
}

void decode_png(std::span<const std::byte> encoded, const Interleaved& shape, PixelType type,
                std::span<std::byte> pixels) {
  std::vector<png_bytep> lines = lines_of(shape, type, pixels);
  PngReader reader(encoded);
  if (!reader.read(shape, type, lines)) fail_codec("PNG: " + reader.reason());
}

}  // namespace cohort::data
