#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>

#include "data_prep/image_file.h"

namespace cohort::data_prep {
namespace {

/// One decoding. libjpeg reports errors through a function that must not return: decode() has no object with
/// a destructor that could be jumped over.
class JpegDecoder {
 public:
  explicit JpegDecoder(std::string_view content) : content_(content) {
    jpeg_.err = jpeg_std_error(&errors_);
    jpeg_.client_data = this;
    errors_.error_exit = on_error;
    errors_.output_message = [](j_common_ptr) {};
  }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { jpeg_destroy_decompress(&jpeg_); }

  /// False: `reason` says why.
  bool decode();

  std::string reason;
  data::ImageLayout layout;
  std::vector<std::byte> pixels;  // [H, W, C]

 private:
  static void on_error(j_common_ptr jpeg) {
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    auto* self = static_cast<JpegDecoder*>(jpeg->client_data);
    self->reason = text;
    std::longjmp(self->return_to_, 1);
  }
  std::string_view content_;
  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  std::jmp_buf return_to_{};
};

bool JpegDecoder::decode() {
  if (setjmp(return_to_) != 0) return false;
  jpeg_create_decompress(&jpeg_);
  const void* start = content_.data();
  jpeg_mem_src(&jpeg_, static_cast<const unsigned char*>(start), content_.size());
  jpeg_read_header(&jpeg_, TRUE);
  if (jpeg_.num_components != 1 && jpeg_.num_components != 3)
    return reason = "it is neither gray nor colour", false;
  jpeg_.out_color_space = jpeg_.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  layout = {data::PixelType::u8, jpeg_.num_components, jpeg_.image_height, jpeg_.image_width};
  // Before libjpeg takes memory for a progressive image.
  if (!is_plausible(layout, content_.size())) return reason = "it claims more pixels than it can hold", false;
  jpeg_start_decompress(&jpeg_);
  pixels.resize(static_cast<std::size_t>(layout.bytes()));
  const std::size_t stride = pixels.size() / jpeg_.output_height;
  while (jpeg_.output_scanline < jpeg_.output_height) {
    auto* row = static_cast<JSAMPROW>(static_cast<void*>(pixels.data() + jpeg_.output_scanline * stride));
    jpeg_read_scanlines(&jpeg_, &row, 1);
  }
  jpeg_finish_decompress(&jpeg_);
  // What libjpeg takes for a warning is missing or damaged data, which it fills with gray.
  if (errors_.num_warnings > 0) return reason = "its data are damaged or end too early", false;
  return true;
}

}  // namespace

Image decode_jpeg(std::string_view content, const std::string& where) {
  JpegDecoder decoder(content);
  if (!decoder.decode()) fail_decoding("JPEG: " + decoder.reason, where);
  return from_interleaved(decoder.layout, decoder.layout.channels, decoder.pixels.data());
}

}  // namespace cohort::data_prep
