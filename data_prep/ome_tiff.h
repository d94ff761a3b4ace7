#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data_prep/image.h"
#include "data_prep/ome_xml.h"
#include "data_prep/tiff_page.h"

namespace cohort::data_prep {

/// Whether a file is called as OME-TIFF is: .ome.tif, .ome.tiff, in any case.
bool is_called_ome_tiff(const std::filesystem::path& file);

/// A file of OME-TIFF, of which only what is asked for is read.
class OmeTiff {
 public:
  /// Throws DataError.
  explicit OmeTiff(std::filesystem::path file);

  /// Without XML it is a TIFF file like others.
  [[nodiscard]] bool has_xml() const noexcept { return has_xml_; }
  /// In the order of the XML; see parse_ome_xml().
  [[nodiscard]] const std::vector<OmeSeries>& series() const noexcept { return series_; }
  /// All channels at one time, in one plane (z), upright. Throws DataError.
  [[nodiscard]] Image read(const OmeSeries& series, std::int64_t time, std::int64_t plane);

 private:
  Image page(const OmePage& page);

  std::filesystem::path path_;
  std::optional<TiffFile> tiff_, other_;
  std::string other_name_;
  bool has_xml_ = false;
  std::vector<OmeSeries> series_;
};

/// The image of a file that has only one. Throws DataError.
Image read_ome_tiff(const std::filesystem::path& file);

}  // namespace cohort::data_prep
