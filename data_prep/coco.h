#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "data_prep/run_lengths.h"
#include "data_prep/texts.h"

namespace cohort::data_prep {

/// An entry of the list `images` of a COCO file.
struct CocoImage {
  std::string file;  ///< file_name
  std::int64_t height = 0, width = 0;
};

/// What a COCO file holds (cocodataset.org, "Data format", "Object Detection"), but for the annotations,
/// which stay in it: 24 bytes of each are kept.
struct CocoFile {
  struct Place {
    std::int32_t image = 0, number = 0;  ///< index of its image; in the list `annotations`, from 0
    std::int64_t offset = 0, bytes = 0;
  };
  std::filesystem::path path;
  std::vector<CocoImage> images;
  std::vector<std::string> categories;           ///< their names in the order of the file
  std::map<std::int64_t, std::int64_t> type_of;  ///< index of the category with an id
  std::vector<Place> annotations;                ///< by image, then as they stand in the file
  std::vector<std::size_t> first;                ///< of each image, and behind the last
  std::vector<std::int32_t> crowds;              ///< numbers of annotations that are groups: iscrowd
  std::set<std::string> keys;                    ///< of images whose values are no lists or objects
  std::vector<Categories>
      facts;  ///< of the keys that were asked for, one an image; empty: it has no such key
};

/// Reads entry by entry: no more than one is in memory. `facts`: keys of images to keep. Throws DataError.
CocoFile read_coco(const std::filesystem::path& file, const std::vector<std::string>& facts);

/// As bytes, for another rank of the same program: without facts and keys, which one rank alone needs.
std::string packed_coco(const CocoFile& file);
CocoFile unpacked_coco(std::string_view packed);

/// An annotation.
struct CocoObject {
  std::int64_t type = 0;  ///< index of its category
  bool is_crowd = false;
  std::array<double, 4> box{};        ///< x, y, width, height
  std::vector<RunLengths> regions{};  ///< together its segmentation
  std::string where{};                ///< for messages
};

/// The annotations of an image, as they stand in the file. `with_regions`: their segmentations too, polygons,
/// runs or COCO's text of runs. Throws DataError.
std::vector<CocoObject> read_coco_objects(const CocoFile& file, std::size_t image, bool with_regions);

}  // namespace cohort::data_prep
