#include "data_prep/exif.h"
#include "data_prep/image_file.h"
#include "support/jpeg_errors.h"

namespace cohort::data_prep {
namespace {

using namespace std::string_view_literals;

/// One decoding. No function that may be jumped out of has an object with a destructor.
class JpegDecoder {
 public:
  explicit JpegDecoder(std::string_view content) : content_(content) { jpeg_.err = &errors_; }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { jpeg_destroy_decompress(&jpeg_); }

  // Each false: reason() says why.
  bool read_header();
  bool decode();

  [[nodiscard]] const std::string& reason() const { return errors_.reason; }
  [[nodiscard]] bool has_junk() const { return errors_.has_junk(); }
  // What the markers before the pixels say.
  int orientation = 1;
  bool has_profile = false;
  data::ImageLayout layout;
  std::vector<std::byte> pixels;  // [H, W, C]

 private:
  void read_metadata();
  bool choose_layout();
  void read_lines();

  std::string_view content_;
  JpegErrors errors_;
  jpeg_decompress_struct jpeg_{};
};

constexpr std::string_view kExif = "Exif\0\0"sv, kXmp = "http://ns.adobe.com/xap/1.0/\0"sv,
                           kProfile = "ICC_PROFILE\0"sv;

void JpegDecoder::read_metadata() {
  std::string exif;
  std::string_view xmp;
  for (const auto* marker = jpeg_.marker_list; marker != nullptr; marker = marker->next) {
    const void* start = marker->data;
    const std::string_view data(static_cast<const char*>(start), marker->data_length);
    if (data.starts_with(kExif)) exif += data.substr(exif.empty() ? 0 : kExif.size());
    if (data.starts_with(kXmp)) xmp = data.substr(kXmp.size());
    if (data.starts_with(kProfile)) has_profile = true;
  }
  orientation = orientation_of(exif, xmp);
}

bool JpegDecoder::read_header() {
  constexpr unsigned kWhole = 0xFFFF;
  if (setjmp(errors_.return_to) != 0) return false;
  jpeg_create_decompress(&jpeg_);
  const void* start = content_.data();
  jpeg_mem_src(&jpeg_, static_cast<const unsigned char*>(start), content_.size());
  jpeg_save_markers(&jpeg_, JPEG_APP0 + 1, kWhole);
  jpeg_save_markers(&jpeg_, JPEG_APP0 + 2, kProfile.size());
  jpeg_read_header(&jpeg_, TRUE);
  read_metadata();
  return true;
}

bool JpegDecoder::choose_layout() {
  const int channels = jpeg_.num_components;
  if (channels != 1 && channels != 3 && channels != 4)
    return errors_.reason = "it is neither gray nor colour", false;
  jpeg_.out_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  layout = {data::PixelType::u8, channels, jpeg_.image_height, jpeg_.image_width};
  // Before libjpeg takes memory for a progressive image.
  if (!is_plausible(layout, content_.size()))
    return errors_.reason = "it claims more pixels than it can hold", false;
  return true;
}

void JpegDecoder::read_lines() {
  pixels.resize(static_cast<std::size_t>(layout.bytes()));
  const std::size_t stride = pixels.size() / jpeg_.output_height;
  while (jpeg_.output_scanline < jpeg_.output_height) {
    auto* row = static_cast<JSAMPROW>(static_cast<void*>(pixels.data() + jpeg_.output_scanline * stride));
    jpeg_read_scanlines(&jpeg_, &row, 1);
  }
}

bool JpegDecoder::decode() {
  if (!choose_layout()) return false;
  if (setjmp(errors_.return_to) != 0) return false;
  jpeg_start_decompress(&jpeg_);
  read_lines();
  jpeg_finish_decompress(&jpeg_);
  return !errors_.lost_pixels();
}

/// a · b / 255 to the nearest integer.
int scaled(int a, int b) {
  return (a * b + 127) / 255;
}

/// Cyan, magenta, yellow and black, stored inverted as all programs do and expect it, become red, green and
/// blue.
Image from_print(const Image& inks) {
  const data::ImageLayout layout{data::PixelType::u8, 3, inks.layout.height, inks.layout.width};
  Image image{layout, std::vector<std::byte>(static_cast<std::size_t>(layout.bytes()))};
  const std::size_t plane = image.pixels.size() / 3;
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const int ink = std::to_integer<int>(inks.pixels[i]),
              black = std::to_integer<int>(inks.pixels[3 * plane + i % plane]);
    image.pixels[i] = static_cast<std::byte>(scaled(ink, black));
  }
  image.remarks.converted = true;
  return image;
}

}  // namespace

Image decode_jpeg(std::string_view content, const std::string& where) {
  JpegDecoder decoder(content);
  if (!decoder.read_header() || !decoder.decode()) fail_decoding("JPEG: " + decoder.reason(), where);
  Image image = from_interleaved(decoder.layout, decoder.pixels.data());
  if (image.layout.channels == 4) image = from_print(image);
  image.remarks.profile = decoder.has_profile;
  image.remarks.junk = decoder.has_junk();
  return upright(std::move(image), decoder.orientation);
}

std::optional<Remarks> upright_jpeg(std::string_view content) {
  if (!content.starts_with("\xff\xd8\xff"sv)) return std::nullopt;
  JpegDecoder decoder(content);
  if (!decoder.read_header() || decoder.orientation > 1) return std::nullopt;
  Remarks remarks;
  remarks.no_orientation = decoder.orientation == 0;
  remarks.profile = decoder.has_profile;
  remarks.junk = decoder.has_junk();
  return remarks;
}

}  // namespace cohort::data_prep
