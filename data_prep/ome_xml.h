#pragma once
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::data_prep {

/// Why OME-XML is not read.
struct OmeProblem : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A page of a TIFF file that is a plane of an image.
struct OmePage {
  std::string file;        ///< beside the one with the XML; empty: that one itself
  std::int64_t page = -1;  ///< from 0 on; -1: the XML names none
};

/// An Image element.
struct OmeSeries {
  std::int64_t pages_of_plane = 1, samples = 1;  ///< pages of one z and time; channels of each page
  std::int64_t planes = 1, times = 1;            ///< SizeZ, SizeT
  std::vector<std::string> channels{};           ///< names; empty: one has none, or two have the same
  std::map<std::string, std::string> facts{};    ///< plate, row, column, well, field; empty: it has none
  std::vector<OmePage> pages{};                  ///< [times, planes, pages_of_plane]

  [[nodiscard]] const OmePage& page(std::int64_t time, std::int64_t plane, std::int64_t number) const {
    return pages.at(static_cast<std::size_t>((time * planes + plane) * pages_of_plane + number));
  }
};

/// The images that the XML of an OME-TIFF file called `own_name` tells of, also those in other files of its
/// set; none: the XML stands in another file (BinaryOnly). Of all versions of the schema
/// (openmicroscopy.org/Schemas/OME), as the specification of OME-TIFF has DimensionOrder, TiffData and UUID,
/// and wells named by their plate's conventions. Throws OmeProblem.
std::vector<OmeSeries> parse_ome_xml(std::string_view xml, const std::string& own_name);

}  // namespace cohort::data_prep
