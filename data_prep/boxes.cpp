#include "data_prep/boxes.h"

#include <algorithm>
#include <limits>
#include <map>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "data_prep/image_file.h"

namespace cohort::data_prep {
namespace {

/// What is seen of an instance.
struct Instance {
  std::int64_t left = std::numeric_limits<std::int64_t>::max(), top = left, right = 0, bottom = 0;
  std::map<std::int32_t, std::int64_t> pixels_of;  // by class

  void add(std::int64_t x, std::int64_t y) {
    left = std::min(left, x), right = std::max(right, x + 1);
    top = std::min(top, y), bottom = std::max(bottom, y + 1);
  }
  [[nodiscard]] std::int32_t type() const {
    if (pixels_of.empty()) return 0;
    const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
    return std::max_element(pixels_of.begin(), pixels_of.end(), fewer)->first;
  }
};

/// Number of an instance or class; -1: not known.
std::int32_t known_value(const Mask& mask, std::size_t pixel) {
  const std::int32_t value = mask.values[pixel];
  return mask.type == data::ValueType::u8 && value == 255 ? -1 : value;
}

/// The masks that boxes come from.
struct InstanceMasks {
  std::function<std::filesystem::path(std::int64_t index)> instances, classes;  // may be empty: classes

  [[nodiscard]] std::vector<float> boxes(std::int64_t index) const {
    const Mask mask = read_mask(instances(index));
    if (!classes) return boxes_of_instances(mask, nullptr);
    const Mask types = read_mask(classes(index));
    if (types.height != mask.height || types.width != mask.width)
      throw DataError({fmt::format("the mask of classes has {} x {} pixels, that of instances {} x {}",
                                   types.height, types.width, mask.height, mask.width),
                       classes(index).string(), "give both one size"});
    return boxes_of_instances(mask, &types);
  }
};

const FieldSource& mask_called(const std::string& name, const std::vector<FieldSource>& fields) {
  std::vector<std::string> known;
  for (const FieldSource& each : fields) {
    if (each.field.kind != data::FieldKind::mask) continue;
    if (each.field.name == name) return each;
    known.push_back(each.field.name);
  }
  throw UsageError({fmt::format("there is no mask called '{}'", name), "--boxes-of",
                    known.empty() ? "name it with --mask as well" : did_you_mean(name, known)});
}

FieldSource instance_boxes(const std::string& text, const std::vector<FieldSource>& fields,
                           const FieldOptions& options, const ConvertOptions& common) {
  const std::vector<std::string> masks = split_text(text.substr(0, text.find('=')), ',');
  if (masks.size() > 2)
    throw UsageError({fmt::format("'{}' names {} masks", text, masks.size()), "--boxes-of",
                      "name that of the instances, and one of their classes: nuclei,types=boxes"});
  const std::string name = text.find('=') == std::string::npos ? "boxes" : renamed(text).second;
  InstanceMasks read{mask_called(masks.front(), fields).path, {}};
  std::vector<std::string> classes = common.classes_of(name, 1);
  if (masks.size() == 2) {
    const FieldSource& types = mask_called(masks.back(), fields);
    read.classes = types.path;
    if (classes.empty()) classes = types.field.names;
  }
  FieldSource boxes{{name,
                     data::FieldKind::boxes,
                     data::ValueType::f32,
                     {-1, 5},
                     options.codec_of(name),
                     "",
                     std::move(classes)},
                    [read](const data::Field&, std::int64_t index, const ImageChange& change) {
                      return box_values(read.boxes(index), change);
                    }};
  boxes.content = [sum = checksum(std::as_bytes(std::span(text)))] { return sum; };
  return boxes;
}

}  // namespace

Corners inside_image(Corners box, std::int64_t height, std::int64_t width, const std::string& where) {
  const Corners whole = box;
  const auto refuse = [&](const char* what) {
    throw DataError({fmt::format("the box [{}] {}, whose height and width are {} x {}",
                                 fmt::join(whole, ", "), what, height, width),
                     where, "correct the annotation, or leave the image out with --on-error skip"});
  };
  for (std::size_t i = 0; i < box.size(); ++i) {
    constexpr double kRounding = 1.0;  // pixels
    const auto size = static_cast<double>(i % 2 == 0 ? width : height);
    if (!(box.at(i) >= -kRounding && box.at(i) <= size + kRounding)) refuse("leaves its image");
    box.at(i) = std::clamp(box.at(i), 0.0, size);
  }
  if (whole[2] < whole[0] || whole[3] < whole[1]) refuse("ends before it begins in its image");
  return box;
}

Image read_annotated_image(const std::filesystem::path& file, std::int64_t height, std::int64_t width) {
  Image image = read_image(file);
  if (image.layout.height == height && image.layout.width == width) return image;
  throw DataError({fmt::format("the image has {} x {} pixels, its annotations tell of {} x {}",
                               image.layout.height, image.layout.width, height, width),
                   file.string(), "give the image that was annotated, or correct height and width"});
}

void add_box(std::vector<float>& boxes, const Corners& box, std::int64_t type) {
  for (const double value : box) boxes.push_back(static_cast<float>(value));
  boxes.push_back(static_cast<float>(type));
}

std::vector<std::byte> box_values(const std::vector<float>& boxes, const ImageChange& change) {
  const std::vector<float> values = moved(boxes, 5, change);
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

std::vector<float> boxes_of_instances(const Mask& instances, const Mask* classes) {
  std::map<std::int32_t, Instance> found;
  for (std::size_t pixel = 0; pixel < instances.values.size(); ++pixel) {
    const std::int32_t number = known_value(instances, pixel);
    if (number <= 0) continue;
    const auto at = static_cast<std::int64_t>(pixel);
    Instance& instance = found[number];
    instance.add(at % instances.width, at / instances.width);
    if (classes != nullptr) ++instance.pixels_of[known_value(*classes, pixel)];
  }
  std::vector<float> boxes;
  for (const auto& [number, instance] : found) {
    add_box(boxes,
            {static_cast<double>(instance.left), static_cast<double>(instance.top),
             static_cast<double>(instance.right), static_cast<double>(instance.bottom)},
            instance.type());
  }
  return boxes;
}

void add_instance_boxes(std::vector<FieldSource>& fields, const FieldOptions& options,
                        const ConvertOptions& common) {
  std::vector<FieldSource> boxes;
  for (const std::string& text : options.boxes_of)
    boxes.push_back(instance_boxes(text, fields, options, common));
  fields.insert(fields.end(), boxes.begin(), boxes.end());
}

}  // namespace cohort::data_prep
