#include <csetjmp>
#include <cstring>

#include <png.h>

#include "data_prep/image_file.h"

namespace cohort::data_prep {
namespace {

/// One decoding. libpng reports errors by longjmp: decode() has no object with a destructor that could be
/// jumped over.
class PngDecoder {
 public:
  explicit PngDecoder(std::string_view content) : rest_(content), size_(content.size()) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, [](png_structp, png_const_charp) {});
    info_ = png_create_info_struct(png_);
  }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }

  /// False: `reason` says why.
  bool decode();

  std::string reason;
  data::ImageLayout layout;
  std::vector<std::byte> pixels;  // [H, W, C]

 private:
  static void on_error(png_structp png, png_const_charp message) {
    static_cast<PngDecoder*>(png_get_error_ptr(png))->reason = message;
    png_longjmp(png, 1);
  }
  static void on_read(png_structp png, png_bytep out, std::size_t count) {
    std::string_view& rest = static_cast<PngDecoder*>(png_get_io_ptr(png))->rest_;
    if (rest.size() < count) png_error(png, "the file ends too early");
    std::memcpy(out, rest.data(), count);
    rest.remove_prefix(count);
  }
  void prepare();
  bool make_room();

  png_structp png_;
  png_infop info_;
  std::string_view rest_;
  std::size_t size_;
  std::vector<png_bytep> rows_;
};

void PngDecoder::prepare() {
  png_set_read_fn(png_, this, on_read);
  png_read_info(png_, info_);
  png_set_palette_to_rgb(png_);
  png_set_expand_gray_1_2_4_to_8(png_);
  png_set_strip_alpha(png_);
  if (png_get_bit_depth(png_, info_) == 16) png_set_swap(png_);
  png_set_interlace_handling(png_);
  png_read_update_info(png_, info_);
}

bool PngDecoder::make_room() {
  layout.type = png_get_bit_depth(png_, info_) == 16 ? data::PixelType::u16 : data::PixelType::u8;
  layout.channels = png_get_channels(png_, info_);
  layout.height = png_get_image_height(png_, info_);
  layout.width = png_get_image_width(png_, info_);
  if (!is_plausible(layout, size_)) return reason = "it claims more pixels than it can hold", false;
  pixels.resize(static_cast<std::size_t>(layout.bytes()));
  const std::size_t stride = pixels.size() / static_cast<std::size_t>(layout.height);
  for (std::size_t y = 0; y < static_cast<std::size_t>(layout.height); ++y) {
    rows_.push_back(static_cast<png_bytep>(static_cast<void*>(pixels.data() + y * stride)));
  }
  return true;
}

bool PngDecoder::decode() {
  if (setjmp(png_jmpbuf(png_)) != 0) return false;
  prepare();
  if (!make_room()) return false;
  png_read_image(png_, rows_.data());
  png_read_end(png_, nullptr);
  return true;
}

}  // namespace

Image decode_png(std::string_view content, const std::string& where) {
  PngDecoder decoder(content);
  if (!decoder.decode()) fail_decoding("PNG: " + decoder.reason, where);
  return from_interleaved(decoder.layout, decoder.layout.channels, decoder.pixels.data());
}

}  // namespace cohort::data_prep
