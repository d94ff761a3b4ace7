#include <cstdlib>

#include "data/codec_library.h"
#include "support/jpeg_errors.h"

namespace cohort::data {
namespace {

JSAMPROW line_of(std::span<std::byte> pixels, std::size_t row_bytes, std::size_t y) {
  void* line = pixels.data() + y * row_bytes;
  return static_cast<JSAMPROW>(line);
}

class JpegWriter {
 public:
  JpegWriter() { jpeg_.err = &errors_; }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;
  ~JpegWriter() {
    jpeg_destroy_compress(&jpeg_);
    std::free(buffer_);
  }

  bool write(const Interleaved& shape, int quality, std::span<std::byte> pixels) {
    if (setjmp(errors_.return_to) != 0) return false;
    jpeg_create_compress(&jpeg_);
    jpeg_mem_dest(&jpeg_, &buffer_, &size_);
    jpeg_.image_width = static_cast<JDIMENSION>(shape.width);
    jpeg_.image_height = static_cast<JDIMENSION>(shape.height);
    jpeg_.input_components = static_cast<int>(shape.channels);
    jpeg_.in_color_space = shape.channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(&jpeg_);
    jpeg_set_quality(&jpeg_, quality, TRUE);
    for (int c = 0; c < jpeg_.num_components; ++c)  // stains and dyes differ in colour: keep all of it
      jpeg_.comp_info[c].h_samp_factor = jpeg_.comp_info[c].v_samp_factor = 1;
    jpeg_start_compress(&jpeg_, TRUE);
    while (jpeg_.next_scanline < jpeg_.image_height) {
      JSAMPROW line = line_of(pixels, shape.row_bytes(PixelType::u8), jpeg_.next_scanline);
      jpeg_write_scanlines(&jpeg_, &line, 1);
    }
    jpeg_finish_compress(&jpeg_);
    return true;
  }

  [[nodiscard]] const std::string& reason() const { return errors_.reason; }
  [[nodiscard]] std::span<const std::byte> encoded() const {
    return std::as_bytes(std::span<const unsigned char>(buffer_, size_));
  }

 private:
  JpegErrors errors_;
  jpeg_compress_struct jpeg_{};
  unsigned char* buffer_ = nullptr;
  unsigned long size_ = 0;
};

class JpegReader {
 public:
  JpegReader() { jpeg_.err = &errors_; }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }

  bool read(std::span<const std::byte> encoded, const Interleaved& shape, std::span<std::byte> pixels) {
    if (setjmp(errors_.return_to) != 0) return false;
    jpeg_create_decompress(&jpeg_);
    const void* start = encoded.data();
    jpeg_mem_src(&jpeg_, static_cast<const unsigned char*>(start), encoded.size());
    jpeg_read_header(&jpeg_, TRUE);
    if (jpeg_.image_width != shape.width || jpeg_.image_height != shape.height ||
        jpeg_.num_components != shape.channels)
      return errors_.reason = "it has another size or number of channels", false;
    jpeg_.out_color_space = shape.channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_start_decompress(&jpeg_);
    while (jpeg_.output_scanline < jpeg_.output_height) {
      JSAMPROW line = line_of(pixels, shape.row_bytes(PixelType::u8), jpeg_.output_scanline);
      jpeg_read_scanlines(&jpeg_, &line, 1);
    }
    jpeg_finish_decompress(&jpeg_);
    return !errors_.lost_pixels();
  }

  [[nodiscard]] const std::string& reason() const { return errors_.reason; }

 private:
  JpegErrors errors_;
  jpeg_decompress_struct jpeg_{};
};

}  // namespace

std::vector<std::byte> encode_jpeg(const Interleaved& shape, int quality, std::span<std::byte> pixels) {
  JpegWriter writer;
  if (!writer.write(shape, quality, pixels)) fail_codec("JPEG: " + writer.reason());
  return {writer.encoded().begin(), writer.encoded().end()};
}

void decode_jpeg(std::span<const std::byte> encoded, const Interleaved& shape, std::span<std::byte> pixels) {
  JpegReader reader;
  if (!reader.read(encoded, shape, pixels)) fail_codec("JPEG: " + reader.reason());
}

}  // namespace cohort::data
