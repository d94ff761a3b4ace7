#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data_prep/boxes.h"

namespace cohort::data_prep {

struct VocObject {
  std::string name;  ///< of its class
  /// Of Pascal's xmin, ymin, xmax, ymax, which count pixels from 1 and are all inside: x0 = xmin - 1,
  /// y0 = ymin - 1, x1 = xmax, y1 = ymax.
  Corners box{};
  bool is_difficult = false;
};

/// An annotation of Pascal VOC (Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2010;
/// the development kit, section "Annotation files").
struct VocAnnotation {
  std::int64_t height = 0, width = 0;  ///< of the image
  std::vector<VocObject> objects{};
  /// Texts of elements outside of objects, by the elements they lie in: "source.database".
  std::map<std::string, std::string> facts{};
};

/// Throws DataError naming `where`.
VocAnnotation parse_voc(const std::string& xml, const std::string& where);

}  // namespace cohort::data_prep
