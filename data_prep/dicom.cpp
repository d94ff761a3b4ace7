#include "data_prep/dicom.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <string_view>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "data_prep/image_file.h"
#include "data_prep/readers.h"

#ifdef COHORT_DCMTK
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dccodec.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmimage/diregist.h>
#include <dcmtk/dcmimgle/dcmimage.h>
#include <dcmtk/dcmimgle/dipixel.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#endif

namespace cohort::data_prep {

bool is_dicom(const std::filesystem::path& file) {
  const std::string ending = in_small_letters(file.extension().string());
  if (ending == ".dcm" || ending == ".dicom" || ending == ".ima") return true;
  constexpr std::size_t kPreamble = 128;
  std::array<char, kPreamble + 4> start{};
  std::ifstream stream(file, std::ios::binary);
  stream.read(start.data(), start.size());
  return stream.good() && std::string_view(start.data() + kPreamble, 4) == "DICM";
}

#ifdef COHORT_DCMTK
namespace {

[[noreturn]] void refuse_dicom(const std::string& reason, const std::filesystem::path& file) {
  fail_decoding("DICOM: " + reason, file.string());
}

void check_condition(const OFCondition& condition, const std::filesystem::path& file) {
  if (condition.bad())
    refuse_dicom(fmt::format("it is damaged or ends too early ({})", condition.text()), file);
}

/// What DCMTK has to be told once.
void prepare_dcmtk() {
  [[maybe_unused]] static const bool once = [] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);  // what is wrong is said once, by us
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
    DcmRLEDecoderRegistration::registerCodecs();
    return true;
  }();
}

std::optional<DcmTag> tag_of(const std::string& name) {
  DcmTag tag;
  if (DcmTag::findTagFromName(name.c_str(), tag).bad()) return std::nullopt;
  return tag;
}

std::vector<std::string> all_tag_names() {
  std::vector<std::string> names;
  DcmDataDictionary& dictionary = dcmDataDict.wrlock();
  for (auto entry = dictionary.normalBegin(); entry != dictionary.normalEnd(); ++entry)
    names.emplace_back((*entry)->getTagName());
  dcmDataDict.wrunlock();
  return names;
}

std::string text_of_tag(DcmItem& item, const std::string& name) {
  OFString value;
  if (const auto tag = tag_of(name); tag && item.findAndGetOFStringArray(*tag, value).good()) {
    const std::size_t end = value.find_last_not_of(std::string_view(" \0", 2).data(), OFString_npos, 2);
    return end == OFString_npos ? "" : std::string(value.c_str(), end + 1);
  }
  return "";
}

/// Whether a text reads the same in every character set: no bytes above 127, no escape sequence.
bool is_plain_ascii(const std::string& text) {
  constexpr char kEscape = 0x1B;
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0 && c != kEscape; });
}

double number_of(DcmItem& item, const DcmTagKey& tag, double otherwise) {
  Float64 value = otherwise;
  return item.findAndGetFloat64(tag, value).good() ? value : otherwise;
}

std::int64_t integer_of(DcmItem& item, const DcmTagKey& tag, std::int64_t otherwise) {
  Sint32 as_text = 0;
  if (item.findAndGetSint32(tag, as_text).good()) return as_text;
  Uint16 value = 0;
  return item.findAndGetUint16(tag, value).good() ? value : otherwise;
}

std::int64_t frames_of(DcmItem& item) {
  if (integer_of(item, DCM_Rows, 0) <= 0 || integer_of(item, DCM_Columns, 0) <= 0) return 0;
  return std::max<std::int64_t>(1, integer_of(item, DCM_NumberOfFrames, 1));
}

/// Values as they are stored become those of the modality, and gray of which more is brighter.
struct GrayScale {
  double slope = 1, intercept = 0;
  double lowest = 0, highest = 0;  ///< of stored values
  bool inverted = false;           ///< MONOCHROME1

  [[nodiscard]] bool changes() const { return slope != 1 || intercept != 0; }
  [[nodiscard]] double of(double stored) const { return slope * stored + intercept; }
  [[nodiscard]] double seen(double stored) const { return of(inverted ? lowest + highest - stored : stored); }
};

/// DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3, from 0 to 1.
double windowed(double value, const DicomValues::Window& window, const std::string& function) {
  const auto [centre, width] = window;
  if (function == "SIGMOID") return 1 / (1 + std::exp(-4 * (value - centre) / width));
  if (function == "LINEAR_EXACT") return std::clamp((value - centre) / width + 0.5, 0.0, 1.0);
  if (width <= 1) return value <= centre - 0.5 ? 0 : 1;
  return std::clamp((value - (centre - 0.5)) / (width - 1) + 0.5, 0.0, 1.0);
}

template <class T>
void store(Image& image, const std::vector<double>& values, const std::filesystem::path& file) {
  std::vector<T> stored(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    stored[i] = static_cast<T>(values[i]);
    if (std::is_integral_v<T> && static_cast<double>(stored[i]) != values[i])
      refuse_dicom(fmt::format("the value {} does not fit into {}: choose another --type, or a --window",
                               values[i], data::pixel_type_name(image.layout.type)),
                   file);
  }
  image.pixels.resize(stored.size() * sizeof(T));
  std::memcpy(image.pixels.data(), stored.data(), image.pixels.size());
}

void store_values(Image& image, const std::vector<double>& values, const std::filesystem::path& file) {
  if (image.layout.type == data::PixelType::u8) return store<std::uint8_t>(image, values, file);
  if (image.layout.type == data::PixelType::u16) return store<std::uint16_t>(image, values, file);
  store<float>(image, values, file);
}

template <class T>
std::vector<double> doubles(const void* values, std::size_t count) {
  const T* first = static_cast<const T*>(values);
  return {first, first + count};
}

std::vector<double> stored_values(const DiPixel& pixels, const std::filesystem::path& file) {
  const void* values = pixels.getData();
  const std::size_t count = pixels.getCount();
  switch (pixels.getRepresentation()) {
    case EPR_Uint8:
      return doubles<Uint8>(values, count);
    case EPR_Sint8:
      return doubles<Sint8>(values, count);
    case EPR_Uint16:
      return doubles<Uint16>(values, count);
    case EPR_Sint16:
      return doubles<Sint16>(values, count);
    case EPR_Uint32:
      return doubles<Uint32>(values, count);
    case EPR_Sint32:
      return doubles<Sint32>(values, count);
  }
  refuse_dicom("its values are of a type that is not known", file);
}

/// Planes Y, Cb, Cr of 8 bits become those of RGB: PS3.3 C.7.6.3.1.2, rounded.
void ybr_to_rgb(std::vector<std::byte>& pixels) {
  const auto rounded = [](double value) {
    return static_cast<std::byte>(std::clamp(std::floor(value + 0.5), 0.0, 255.0));
  };
  const std::size_t plane = pixels.size() / 3;
  for (std::size_t i = 0; i < plane; ++i) {
    const auto luma = static_cast<double>(pixels[i]);
    const double blue = static_cast<double>(pixels[plane + i]) - 128;
    const double red = static_cast<double>(pixels[2 * plane + i]) - 128;
    pixels[i] = rounded(luma + 1.402 * red);
    pixels[plane + i] = rounded(luma - (0.114 * 1.772 * blue + 0.299 * 1.402 * red) / 0.587);
    pixels[2 * plane + i] = rounded(luma + 1.772 * blue);
  }
}

}  // namespace

void check_tag(const std::string& tag, const std::string& option) {
  if (!dcmDataDict.isDictionaryLoaded()) {
    throw UsageError({"DCMTK does not find its dictionary of DICOM's tags", option,
                      "set DCMDICTPATH to its file dicom.dic"});
  }
  if (tag_of(tag)) return;
  throw UsageError({fmt::format("DICOM has no tag '{}'", tag), option, did_you_mean(tag, all_tag_names())});
}

DicomHeader read_dicom_header(const std::filesystem::path& file, const std::vector<std::string>& tags) {
  prepare_dcmtk();
  DcmFileFormat format;
  check_condition(format.loadFileUntilTag(file.c_str(), EXS_Unknown, EGL_noChange, DCM_MaxReadLength,
                                          ERM_autoDetect, DCM_PixelData),
                  file);
  DcmDataset& dataset = *format.getDataset();
  const bool is_utf8 = dataset.convertToUTF8().good();
  DicomHeader header{frames_of(dataset), {}};
  for (const std::string& tag : tags) {
    header.values.push_back(text_of_tag(dataset, tag));
    if (!is_utf8 && !is_plain_ascii(header.values.back()))
      refuse_dicom(fmt::format("DCMTK does not know the character set of its {}, {}", tag,
                               text_of_tag(dataset, "SpecificCharacterSet")),
                   file);
  }
  return header;
}

struct DicomFile::Data {
  explicit Data(std::filesystem::path path) : file(std::move(path)) {
    prepare_dcmtk();
    check_condition(format.loadFile(file.c_str()), file);
    const E_TransferSyntax syntax = dataset().getOriginalXfer();
    if (syntax == EXS_BigEndianExplicit && integer_of(dataset(), DCM_BitsAllocated, 0) > 16)
      refuse_dicom("DCMTK does not read values of 32 bits in big-endian order", file);
    if (!DcmXfer(syntax).isEncapsulated()) {
      check_length();
      return;
    }
    if (DcmCodecList::canChangeCoding(syntax, EXS_LittleEndianExplicit)) return;
    refuse_dicom(fmt::format("DCMTK does not read its compression ({}): unpack it, for example with gdcmconv "
                             "--raw",
                             DcmXfer(syntax).getXferName()),
                 file);
  }

  [[nodiscard]] DcmDataset& dataset() { return *format.getDataset(); }

  /// DCMTK's own conversion of these has its middle at 127.5, half a value from the standard's.
  [[nodiscard]] bool is_plain_ybr() {
    const std::string colours = text_of_tag(dataset(), "PhotometricInterpretation");
    return (colours == "YBR_FULL" || colours == "YBR_FULL_422") &&
           integer_of(dataset(), DCM_BitsStored, 0) == 8 &&
           !DcmXfer(dataset().getOriginalXfer()).isEncapsulated();
  }

  /// DCMTK fills what is missing with zeros.
  void check_length() {
    DcmElement* pixels = nullptr;
    if (dataset().findAndGetElement(DCM_PixelData, pixels).bad()) refuse_dicom("it has no pixels", file);
    std::int64_t samples = integer_of(dataset(), DCM_SamplesPerPixel, 1) * 2;
    OFString colours;
    dataset().findAndGetOFString(DCM_PhotometricInterpretation, colours);
    if (colours == "YBR_FULL_422" || colours == "YBR_PARTIAL_422") samples = 4;  // of 2 pixels
    const std::int64_t bits = frames_of(dataset()) * integer_of(dataset(), DCM_Rows, 0) *
                              integer_of(dataset(), DCM_Columns, 0) *
                              integer_of(dataset(), DCM_BitsAllocated, 8) * samples / 2;
    if (pixels->getLengthField() < static_cast<std::uint64_t>(bits) / 8)
      refuse_dicom("its pixels are damaged or end too early", file);
  }

  GrayScale gray_scale(DicomImage& image, bool has_table) {
    GrayScale scale;
    scale.inverted = image.getPhotometricInterpretation() == EPI_Monochrome1;
    image.getMinMaxValues(scale.lowest, scale.highest, 1);
    if (has_table) return scale;
    scale.slope = number_of(dataset(), DCM_RescaleSlope, 1);
    scale.intercept = number_of(dataset(), DCM_RescaleIntercept, 0);
    return scale;
  }

  DicomValues::Window window_of_file() {
    const DicomValues::Window window{number_of(dataset(), DCM_WindowCenter, 0),
                                     number_of(dataset(), DCM_WindowWidth, 0)};
    if (window.width > 0) return window;
    refuse_dicom("it names no window: give one with --window CENTRE,WIDTH, or leave --window out", file);
  }

  /// Values as they are seen through a window, from 0 to `most`.
  void apply_window(std::vector<double>& stored, const GrayScale& scale, const DicomValues& how, double most,
                    bool rounds) {
    const std::string function = how.window ? "LINEAR" : text_of_tag(dataset(), "VOILUTFunction");
    const DicomValues::Window window = how.window ? *how.window : window_of_file();
    for (double& value : stored) {
      const double part = windowed(scale.of(value), window, function);
      value = most * (scale.inverted ? 1 - part : part);
      if (rounds) value = std::floor(value + 0.5);
    }
  }

  Image gray(DicomImage& image, bool has_table, const DicomValues& how) {
    const DiPixel* pixels = image.getInterData();
    if (pixels == nullptr || pixels->getData() == nullptr) refuse_dicom("it has no pixels", file);
    Image result{layout(image, 1), {}};
    std::vector<double> values = stored_values(*pixels, file);
    if (std::ssize(values) < result.layout.values()) refuse_dicom("its pixels end too early", file);
    values.resize(static_cast<std::size_t>(result.layout.values()));
    const GrayScale scale = gray_scale(image, has_table);
    if (how.has_window) {
      result.layout.type = how.type.value_or(data::PixelType::u8);
      const bool is_integer = result.layout.type != data::PixelType::f32;
      apply_window(values, scale, how,
                   !is_integer                                 ? 1
                   : result.layout.type == data::PixelType::u8 ? 255
                                                               : 65535,
                   is_integer);
    } else {
      result.layout.type = how.type.value_or(type_for(scale));
      for (double& value : values) value = scale.seen(value);
    }
    store_values(result, values, file);
    return result;
  }

  /// The smallest type that holds all values that there may be.
  static data::PixelType type_for(const GrayScale& scale) {
    if (scale.changes() || scale.lowest < 0 || scale.highest > std::numeric_limits<std::uint16_t>::max())
      return data::PixelType::f32;
    return scale.highest > std::numeric_limits<std::uint8_t>::max() ? data::PixelType::u16
                                                                    : data::PixelType::u8;
  }

  Image colours(DicomImage& image) {
    const bool is_palette = image.getPhotometricInterpretation() == EPI_PaletteColor;
    if (image.getDepth() > 16) refuse_dicom("colours of more than 16 bits", file);
    const int bits = image.getDepth() > 8 && !is_palette ? 16 : 8;
    const void* pixels = image.getOutputData(bits, 0, 1);
    if (pixels == nullptr) refuse_dicom("its pixels are damaged", file);
    Image result{layout(image, 3), {}};
    if (bits == 16) result.layout.type = data::PixelType::u16;
    result.pixels.resize(static_cast<std::size_t>(result.layout.bytes()));
    std::memcpy(result.pixels.data(), pixels, result.pixels.size());
    if (is_plain_ybr()) ybr_to_rgb(result.pixels);
    return result;
  }

  static data::ImageLayout layout(const DicomImage& image, std::int64_t channels) {
    return {data::PixelType::u8, channels, static_cast<std::int64_t>(image.getHeight()),
            static_cast<std::int64_t>(image.getWidth())};
  }

  std::filesystem::path file;
  DcmFileFormat format;
};

DicomFile::DicomFile(const std::filesystem::path& file) : data_(std::make_unique<Data>(file)) {}
DicomFile::~DicomFile() = default;
DicomFile::DicomFile(DicomFile&&) noexcept = default;
DicomFile& DicomFile::operator=(DicomFile&&) noexcept = default;

Image DicomFile::frame(std::int64_t index, const DicomValues& values) const {
  const bool has_table = data_->dataset().tagExists(DCM_ModalityLUTSequence);
  DicomImage image(&data_->format, EXS_Unknown,
                   CIF_UsePartialAccessToPixelData | (has_table ? 0 : CIF_IgnoreModalityTransformation) |
                       (data_->is_plain_ybr() ? CIF_KeepYCbCrColorModel : 0),
                   static_cast<unsigned long>(index), 1);
  if (image.getStatus() != EIS_Normal) refuse_dicom(DicomImage::getString(image.getStatus()), data_->file);
  return image.isMonochrome() != 0 ? data_->gray(image, has_table, values) : data_->colours(image);
}
#else
namespace {

[[noreturn]] void refuse_dicom(const std::string& where) {
  refuse_left_out("DICOM files", "libdcmtk-dev", where);
}

}  // namespace

struct DicomFile::Data {};

void check_tag(const std::string&, const std::string& option) {
  refuse_dicom(option);
}
DicomHeader read_dicom_header(const std::filesystem::path& file, const std::vector<std::string>&) {
  refuse_dicom(file.string());
}
DicomFile::DicomFile(const std::filesystem::path& file) {
  refuse_dicom(file.string());
}
DicomFile::~DicomFile() = default;
DicomFile::DicomFile(DicomFile&&) noexcept = default;
DicomFile& DicomFile::operator=(DicomFile&&) noexcept = default;
Image DicomFile::frame(std::int64_t, const DicomValues&) const {
  return {};
}
#endif

}  // namespace cohort::data_prep
