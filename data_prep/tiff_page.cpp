#include "data_prep/tiff_page.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "cohort/core/read_at.h"

namespace cohort::data_prep {
namespace {

/// What libtiff said in this thread since a file was opened.
struct Said {
  std::string error;
  bool lost_pixels = false;
};

Said& said() {
  static thread_local Said said;
  return said;
}

std::string formatted(const char* format, va_list values) {
  char text[256];
  std::vsnprintf(text, sizeof text, format, values);
  return text;
}

void keep_error(const char* /*module*/, const char* format, va_list values) {
  said().error = formatted(format, values);
}

void keep_warning(const char* module, const char* format, va_list values) {
  if (module == nullptr || module != std::string_view("JPEGLib")) return;
  const std::string text = formatted(format, values);
  const bool is_harmless = text.find("extraneous bytes") != std::string::npos;
  if (text.starts_with("Corrupt JPEG data") && !is_harmless) said().lost_pixels = true;
}

/// A number to which TIFF or an extension of it gives a meaning.
struct Named {
  std::uint16_t number;
  const char* name;
};

/// "34712 (JPEG 2000)".
std::string named(std::uint16_t number, std::span<const Named> names) {
  const auto* found = std::find_if(names.begin(), names.end(), [&](const Named& known) {
                        return known.number == number;
                      }).base();
  return found == names.data() + names.size() ? std::to_string(number)
                                              : fmt::format("{} ({})", number, found->name);
}

std::string compression_text(std::uint16_t compression) {
  constexpr std::array kNames{Named{6, "old JPEG"},      Named{7, "JPEG"},
                              Named{22610, "JPEG XR"},   Named{33003, "JPEG 2000"},
                              Named{33005, "JPEG 2000"}, Named{34712, "JPEG 2000"},
                              Named{34887, "LERC"},      Named{34892, "lossy JPEG of DNG"},
                              Named{34925, "LZMA"},      Named{50000, "Zstandard"},
                              Named{50001, "WebP"},      Named{50002, "JPEG XL"}};
  return named(compression, kNames);
}

std::string photometric_text(std::uint16_t photometric) {
  constexpr std::array kNames{Named{0, "0 is white"},
                              Named{1, "0 is black"},
                              Named{2, "RGB"},
                              Named{3, "palette"},
                              Named{4, "mask"},
                              Named{5, "CMYK"},
                              Named{6, "YCbCr"},
                              Named{8, "CIE L*a*b*"},
                              Named{9, "ICC L*a*b*"},
                              Named{10, "ITU L*a*b*"},
                              Named{32803, "colour filter array"},
                              Named{32844, "LogL"},
                              Named{32845, "LogLuv"},
                              Named{34892, "raw of a camera"}};
  return named(photometric, kNames);
}

std::string format_text(std::uint16_t format) {
  constexpr std::array kNames{Named{1, "unsigned integers"},      Named{2, "signed integers"},
                              Named{3, "floating-point numbers"}, Named{4, "untyped"},
                              Named{5, "complex integers"},       Named{6, "complex numbers"}};
  return named(format, kNames);
}

}  // namespace

TiffFile::TiffFile(std::string_view content) : content_(content), bytes_(content.size()) {
  open();
  choose_page();
}

TiffFile::TiffFile(const std::filesystem::path& file)
    : file_(open_file(file)), bytes_(std::filesystem::file_size(file)) {
  open();
}

void TiffFile::open() {
  TIFFSetErrorHandler(keep_error);
  TIFFSetWarningHandler(keep_warning);
  said() = {};
  tiff_.reset(TIFFClientOpen(
      "", "rm", this, read, [](thandle_t, void*, tsize_t) -> tsize_t { return 0; }, seek,
      [](thandle_t) { return 0; },
      [](thandle_t file) -> toff_t { return static_cast<TiffFile*>(file)->bytes(); }, nullptr, nullptr));
  if (!tiff_) refuse_damage();
}

void TiffFile::open_page(std::int64_t page) {
  said() = {};
  const bool opened = page == page_ || (page_ >= 0 && page == page_ + 1
                                            ? TIFFReadDirectory(get()) != 0
                                            : TIFFSetDirectory(get(), static_cast<tdir_t>(page)) != 0);
  page_ = opened ? page : -1;
  if (!opened) throw TiffProblem(fmt::format("it has no page {}", page + 1));
}

std::string TiffFile::description() const {
  const char* text = nullptr;
  return TIFFGetField(get(), TIFFTAG_IMAGEDESCRIPTION, &text) != 0 && text != nullptr ? text : "";
}

tsize_t TiffFile::read_at(std::size_t offset, std::span<std::byte> out) const {
  if (!file_) {
    std::memcpy(out.data(), content_.data() + offset, out.size());
    return std::ssize(out);
  }
  return static_cast<tsize_t>(cohort::read_at(file_, offset, out));
}

tsize_t TiffFile::read(thandle_t file, void* out, tsize_t count) {
  auto& self = *static_cast<TiffFile*>(file);
  const std::size_t wanted = std::min(self.bytes() - self.at_, static_cast<std::size_t>(count));
  const tsize_t taken = self.read_at(self.at_, {static_cast<std::byte*>(out), wanted});
  self.at_ += static_cast<std::size_t>(taken);
  return taken;
}

toff_t TiffFile::seek(thandle_t file, toff_t offset, int from) {
  auto& self = *static_cast<TiffFile*>(file);
  if (from == SEEK_CUR) offset += self.at_;
  if (from == SEEK_END) offset += self.bytes();
  self.at_ = std::min<std::size_t>(offset, self.bytes());
  return self.at_;
}

void TiffFile::refuse_damage() {
  throw TiffProblem(said().error.empty() ? "it ends too early" : said().error);
}

bool TiffFile::lost_pixels() {
  return said().lost_pixels;
}

std::string_view TiffFile::bytes_of(ttag_t tag) const {
  std::uint32_t count = 0;
  const void* bytes = nullptr;
  if (TIFFGetField(get(), tag, &count, &bytes) == 0) return {};
  return {static_cast<const char*>(bytes), count};
}

bool TiffFile::has_sub_directory() const {
  std::uint16_t count = 0;
  const void* offsets = nullptr;
  return TIFFGetField(get(), TIFFTAG_SUBIFD, &count, &offsets) != 0;
}

void TiffFile::choose_page() {
  constexpr std::uint32_t kNoPage = FILETYPE_REDUCEDIMAGE | FILETYPE_MASK;
  std::optional<tdir_t> page;
  for (bool more = true; more; more = TIFFReadDirectory(get()) != 0) {
    if ((field<std::uint32_t>(TIFFTAG_SUBFILETYPE) & kNoPage) != 0) continue;
    if (page)
      throw TiffProblem(
          "it has more than one page; tiffsplit of libtiff writes each as a file, and OME-TIFF has "
          "to be called .ome.tif");
    page = TIFFCurrentDirectory(get());
  }
  if (TIFFSetDirectory(get(), page.value_or(0)) == 0) refuse_damage();
  if (!page && has_sub_directory())
    throw TiffProblem("its page is a small copy, the image itself lies in a sub-directory");
}

TiffPage::TiffPage(const TiffFile& file)
    : bits(file.field<std::uint16_t>(TIFFTAG_BITSPERSAMPLE)),
      height(file.field<std::uint32_t>(TIFFTAG_IMAGELENGTH)),
      width(file.field<std::uint32_t>(TIFFTAG_IMAGEWIDTH)),
      samples(file.field<std::uint16_t>(TIFFTAG_SAMPLESPERPIXEL)),
      interleaved(file.field<std::uint16_t>(TIFFTAG_PLANARCONFIG) == PLANARCONFIG_CONTIG) {
  const auto compression = file.field<std::uint16_t>(TIFFTAG_COMPRESSION);
  if (TIFFIsCODECConfigured(compression) == 0)
    throw TiffProblem(
        fmt::format("this machine's libtiff does not read compression {}", compression_text(compression)));
  if (TIFFGetField(file.get(), TIFFTAG_PHOTOMETRIC, &photometric) == 0)
    throw TiffProblem("it has no photometric interpretation, which says what its samples are");
  if (colours() == 0)
    throw TiffProblem(
        fmt::format("photometric interpretation {} is not supported", photometric_text(photometric)));
  type = pixel_type(file);
  if (samples < colours() || height == 0 || width == 0) throw TiffProblem("it has no pixels");
  kept = kept_samples(file);
  if (!has_known_meaning()) {
    throw TiffProblem(
        fmt::format("{} samples of {} bits with photometric interpretation {} are not supported", samples,
                    bits, photometric_text(photometric)));
  }
}

std::int64_t TiffPage::colours() const {
  switch (photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_PALETTE:
      return 1;
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_YCBCR:
      return 3;
    case PHOTOMETRIC_SEPARATED:
      return 4;
    default:
      return 0;
  }
}

bool TiffPage::is_converted() const {
  return photometric == PHOTOMETRIC_YCBCR || photometric == PHOTOMETRIC_SEPARATED;
}

data::PixelType TiffPage::pixel_type(const TiffFile& file) const {
  const auto format = file.field<std::uint16_t>(TIFFTAG_SAMPLEFORMAT);
  const bool fits_byte = bits == 1 || bits == 2 || bits == 4 || bits == 8;
  if (format == SAMPLEFORMAT_UINT && fits_byte) return data::PixelType::u8;
  if (format == SAMPLEFORMAT_UINT && bits == 16) return data::PixelType::u16;
  if (format == SAMPLEFORMAT_IEEEFP && bits == 32) return data::PixelType::f32;
  throw TiffProblem(
      fmt::format("samples of {} bits and format {} are not supported: unsigned integers of 8 or 16 and "
                  "floating-point numbers of 32 "
                  "bits are",
                  bits, format_text(format)));
}

std::vector<std::int64_t> TiffPage::kept_samples(const TiffFile& file) const {
  std::uint16_t count = 0;
  const std::uint16_t* meanings = nullptr;
  if (TIFFGetField(file.get(), TIFFTAG_EXTRASAMPLES, &count, &meanings) == 0) count = 0;
  std::vector<std::int64_t> found;
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    const std::int64_t extra = sample - colours();
    if (extra < 0 || extra >= count || meanings[extra] == EXTRASAMPLE_UNSPECIFIED) found.push_back(sample);
  }
  return found;
}

bool TiffPage::has_known_meaning() const {
  if (photometric == PHOTOMETRIC_MINISBLACK || photometric == PHOTOMETRIC_RGB) return true;
  if (is_converted()) return bits == 8 && samples == colours();
  if (photometric == PHOTOMETRIC_PALETTE && type != data::PixelType::u8) return false;
  return type != data::PixelType::f32 && std::ssize(kept) == colours();
}

}  // namespace cohort::data_prep
