#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data_prep/image.h"

namespace cohort::data_prep {

/// How values of gray DICOM images become pixels. Colour images are RGB of 8 bits, or of 16.
struct DicomValues {
  /// Range of values that is shown: centre and width as DICOM defines them (PS3.3 C.11.2.1.2).
  struct Window {
    double centre = 0, width = 0;
  };
  bool has_window = false;                ///< else values are kept
  std::optional<Window> window{};         ///< with has_window; nothing: the first one that the file names
  std::optional<data::PixelType> type{};  ///< nothing: u8 with a window; else the smallest that holds them
};

/// What is known of a DICOM file without its pixels.
struct DicomHeader {
  std::int64_t frames = 0;  ///< 0: it has no image
  std::vector<std::string> values;
};

/// Whether a file says that it is DICOM: DICM behind a preamble, or the name ends in .dcm, .dicom, .ima.
bool is_dicom(const std::filesystem::path& file);

/// Throws UsageError, with the nearest one, unless DICOM's dictionary has the tag, a keyword as PatientID.
void check_tag(const std::string& tag, const std::string& option);

/// `values` of the tags of a file in UTF-8, empty where it has none; several are joined by \. Throws
/// DataError: the file is damaged.
DicomHeader read_dicom_header(const std::filesystem::path& file, const std::vector<std::string>& tags);

/// A DICOM file whose frames are read one by one: [1, H, W], or [3, H, W] of colours. MONOCHROME1 is
/// inverted, rescaled values are those of the modality. For one thread.
class DicomFile {
 public:
  /// Throws DataError.
  explicit DicomFile(const std::filesystem::path& file);
  ~DicomFile();
  DicomFile(DicomFile&&) noexcept;
  DicomFile& operator=(DicomFile&&) noexcept;

  /// Throws DataError: damaged, a syntax that DCMTK does not read, no window, values that the type cannot
  /// hold.
  [[nodiscard]] Image frame(std::int64_t index, const DicomValues& values) const;

 private:
  struct Data;
  std::unique_ptr<Data> data_;
};

}  // namespace cohort::data_prep
