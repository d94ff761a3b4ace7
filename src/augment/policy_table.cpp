#include "augment/policy_table.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/data/pixel_type.h"

namespace cohort::augment {

std::span<const BuiltIn> built_in_presets() {
  static const std::vector<BuiltIn> presets{
      {"camelyon_dino",
       96,
       32,
       {{"crop area=[0.4,1]", "flip", "jitter", "gray", "blur probability=[1,0.1]",
         "solarise probability=[0,0.2]"},
        {"crop area=[0.05,0.4]", "flip", "jitter", "gray", "blur"}}},
      {"cell_dino",
       224,
       96,
       {{"pad_crop", "flip_or_rotate", "defocus largest=[3,5]", "holes"},
        {"pad_crop least=320 anywhere=false", "flip_or_rotate", "defocus probability=1"}}}};
  return presets;
}

const BuiltIn* built_in(std::string_view name) {
  const std::span<const BuiltIn> presets = built_in_presets();
  const auto found =
      std::find_if(presets.begin(), presets.end(), [&](const auto& preset) { return preset.name == name; });
  return found == presets.end() ? nullptr : &*found;
}

std::string text_of(Sides size) {
  const std::string depth = size.depth > 1 ? fmt::format("{} x ", size.depth) : "";
  return fmt::format("{}{} x {}", depth, size.height, size.width);
}

namespace {

void check_cut(const ViewKind& kind, Sides image, const std::string& where) {
  const bool cuts = !kind.operations.empty() && kind.operations.front().traits.cuts;
  const bool is_cut =
      kind.size.height != image.height || kind.size.width != image.width || kind.size.depth != image.depth;
  if (is_cut && !cuts) {
    throw UsageError(
        {fmt::format("views of {} pixels are to be made of images of {}, and no operation cuts them",
                     text_of(kind.size), text_of(image)),
         where, image.depth > 1 ? "begin with volume_crop" : "begin with crop, pad_crop or resize"});
  }
  for (std::size_t i = 1; i < kind.operations.size(); ++i) {
    if (!kind.operations[i].traits.cuts) continue;
    throw UsageError({fmt::format("'{}' is not the first operation", kind.operations[i].name), where,
                      "crop, pad_crop or resize (volume_crop of volumes) cut the view out of the image: put "
                      "one first, and none later"});
  }
}

void check_dimensions(const NamedOperation& operation, const data::ImageLayout& images,
                      const std::string& where) {
  const Takes takes = operation.traits.takes;
  if (takes == Takes::both || (takes == Takes::volumes) == images.is_volume()) return;
  const std::string fix = "docs/views.md, Operations, says which take volumes";
  if (images.is_volume())
    throw UsageError({fmt::format("'{}' takes images, those of the dataset are volumes of depth {}",
                                  operation.name, images.depth),
                      where, fix});
  throw UsageError({fmt::format("'{}' takes volumes, the dataset has images", operation.name), where, fix});
}

void check_images(const ViewKind& kind, const data::ImageLayout& images, const std::string& preset,
                  const std::string& where) {
  const bool is_rgb = images.channels == 3 && images.type == data::PixelType::u8;
  for (const NamedOperation& operation : kind.operations) {
    check_dimensions(operation, images, where);
    if (operation.traits.needs_rgb && !is_rgb) {
      if (built_in(preset) != nullptr) {
        throw UsageError({fmt::format("preset {} needs 8-bit RGB images, not {} channels of type {}", preset,
                                      images.channels, data::pixel_type_name(images.type)),
                          "augment.preset", "use cell_dino for other images"});
      }
      throw UsageError({fmt::format("'{}' needs 8-bit RGB images, not {} channels of type {}", operation.name,
                                    images.channels, data::pixel_type_name(images.type)),
                        where, fmt::format("leave out '{}'", operation.name)});
    }
    if (operation.traits.needs_square && kind.size.height != kind.size.width) {
      throw UsageError({fmt::format("'{}' needs square views, not {}", operation.name, text_of(kind.size)),
                        where, "set augment.multi_crop.global_size, and cut views of that size"});
    }
  }
}

/// A square, or a cube.
Sides even_sides(std::int64_t side, bool is_deep) {
  return {side, side, is_deep ? side : 1};
}

}  // namespace

Table table_of(const ViewConfig& config, std::int64_t global_views, const data::ImageLayout& images) {
  const BuiltIn* const preset = built_in(config.preset);
  const Policy& lines = preset != nullptr ? preset->table : config.policy;
  const Sides image{images.height, images.width, images.depth};
  const auto size = [&](std::int64_t configured, std::int64_t of_preset) {
    const std::int64_t side = configured > 0 ? configured : of_preset;
    return side > 0 ? even_sides(side, images.is_volume()) : image;
  };
  Table table;
  table.global = {preset != nullptr ? kGlobalCrops : global_views,
                  size(config.multi_crop.global_size, preset != nullptr ? preset->global_size : 0),
                  operations_of(lines.global, "augment.policy.global")};
  table.local = {lines.local.empty() ? 0 : config.multi_crop.local_crops,
                 size(config.multi_crop.local_size, preset != nullptr ? preset->local_size : 0),
                 operations_of(lines.local, "augment.policy.local")};
  for (const auto& [kind, where] :
       {std::pair{&table.global, "augment.policy.global"}, std::pair{&table.local, "augment.policy.local"}}) {
    if (kind->count == 0) continue;
    check_images(*kind, images, config.preset, where);
    check_cut(*kind, image, where);
  }
  return table;
}

std::vector<data::ViewShape> Table::shapes(std::int64_t channels) const {
  std::vector<data::ViewShape> shapes;
  for (std::int64_t view = 0; view < views(); ++view) {
    const Sides size = kind_of(view).size;
    shapes.push_back({channels, size.height, size.width, size.depth});
  }
  return shapes;
}

void Table::draw(ViewDraws draws, ViewSizes sizes, std::vector<Step>& steps) const {
  const ViewKind& kind = kind_of(draws.view);
  sizes.view = kind.size;
  draws.number = draws.view < global.count ? draws.view : draws.view - global.count;
  steps.clear();
  for (const NamedOperation& operation : kind.operations) {
    draws.repeated = operation.repeated;
    operation.operation->draw(draws, sizes, steps);
  }
}

std::vector<std::int64_t> channel_order(const ViewDraws& draws, std::int64_t channels, bool shuffles) {
  if (shuffles) return permutation(channels, draws.stream(Decision::channels));
  std::vector<std::int64_t> order(static_cast<std::size_t>(channels));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

}  // namespace cohort::augment
