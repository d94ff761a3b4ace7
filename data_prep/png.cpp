#include <charconv>
#include <csetjmp>
#include <cstring>

#include <png.h>

#include "data_prep/exif.h"
#include "data_prep/image_file.h"

namespace cohort::data_prep {
namespace {

/// One decoding. libpng reports errors by longjmp: decode() has no object with a destructor that could be
/// jumped over.
class PngDecoder {
 public:
  PngDecoder(std::string_view content, PngSamples samples)
      : rest_(content), size_(content.size()), samples_(samples) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, [](png_structp, png_const_charp) {});
    info_ = png_create_info_struct(png_);
  }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }

  /// False: `reason` says why.
  bool decode();

  /// After decode(): they may follow the pixels.
  [[nodiscard]] int orientation() const;

  std::string reason;
  Remarks remarks;
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
  [[nodiscard]] std::string exif() const;
  [[nodiscard]] std::string_view text(std::string_view key) const;

  png_structp png_;
  png_infop info_;
  std::string_view rest_;
  std::size_t size_;
  PngSamples samples_;
  std::vector<png_bytep> rows_;
};

void PngDecoder::prepare() {
  png_set_read_fn(png_, this, on_read);
  png_read_info(png_, info_);
  remarks.alpha = (png_get_color_type(png_, info_) & PNG_COLOR_MASK_ALPHA) != 0 ||
                  png_get_valid(png_, info_, PNG_INFO_tRNS) != 0;
  remarks.profile = png_get_valid(png_, info_, PNG_INFO_iCCP) != 0;
  if (samples_ == PngSamples::as_seen) {
    png_set_palette_to_rgb(png_);
    png_set_expand_gray_1_2_4_to_8(png_);
  } else {
    png_set_packing(png_);
  }
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
  png_read_end(png_, info_);
  return true;
}

/// Of the last text with this key.
std::string_view PngDecoder::text(std::string_view key) const {
  png_textp texts = nullptr;
  const int count = png_get_text(png_, info_, &texts, nullptr);
  std::string_view found;
  for (int i = 0; i < count; ++i) {
    const png_text& text = texts[i];
    const bool international = text.compression >= PNG_ITXT_COMPRESSION_NONE;
    if (key == text.key) found = {text.text, international ? text.itxt_length : text.text_length};
  }
  return found;
}

/// ImageMagick's form of it: a line break, the name, how many bytes, and the bytes as hexadecimal digits.
std::string from_hexadecimal(std::string_view profile) {
  for (int line = 0; line < 3; ++line) {
    const std::size_t end = profile.find('\n');
    profile = end == std::string_view::npos ? "" : profile.substr(end + 1);
  }
  std::string digits(profile), bytes;
  std::erase(digits, '\n');
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    unsigned char byte = 0;
    const char* end = digits.data() + i + 2;
    if (std::from_chars(digits.data() + i, end, byte, 16).ptr != end) break;
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

std::string PngDecoder::exif() const {
  png_bytep bytes = nullptr;
  png_uint_32 count = 0;
  if (png_get_eXIf_1(png_, info_, &count, &bytes) != 0) {
    const void* start = bytes;
    return {static_cast<const char*>(start), count};
  }
  const std::string_view profile = text("Raw profile type exif");
  return profile.empty() ? "" : from_hexadecimal(profile);
}

int PngDecoder::orientation() const {
  return orientation_of(exif(), text("XML:com.adobe.xmp"));
}

}  // namespace

Image decode_png(std::string_view content, const std::string& where, PngSamples samples) {
  PngDecoder decoder(content, samples);
  if (!decoder.decode()) fail_decoding("PNG: " + decoder.reason, where);
  Image image = from_interleaved(decoder.layout, decoder.pixels.data());
  image.remarks = decoder.remarks;
  return upright(std::move(image), decoder.orientation());
}

}  // namespace cohort::data_prep
