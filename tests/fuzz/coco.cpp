#include "data_prep/coco.h"

#include "fuzz.h"

/// All annotations with their segmentations, of images that are small enough to draw.
void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  const File file(content);
  const data_prep::CocoFile coco = data_prep::read_coco(file.path(), {"file_name", "plate"});
  for (std::size_t image = 0; image < coco.images.size(); ++image) {
    const data_prep::CocoImage& size = coco.images[image];
    constexpr std::int64_t kMost = 64;
    if (size.height > kMost || size.width > kMost) continue;
    data_prep::Mask mask{size.height, size.width, data::ValueType::u8, {}};
    mask.values.resize(static_cast<std::size_t>(size.height * size.width));
    for (const data_prep::CocoObject& object : data_prep::read_coco_objects(coco, image, true)) {
      for (const data_prep::RunLengths& region : object.regions) data_prep::paint(region, 1, mask);
    }
  }
}
