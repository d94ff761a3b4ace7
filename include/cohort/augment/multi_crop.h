#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "cohort/augment/views.h"
#include "cohort/config/field.h"
#include "cohort/data/description.h"
#include "cohort/data/view_maker.h"

namespace cohort::augment {

/// How views for training are made.
enum class Preset {
  whole,          ///< one view of the size of the image: AugmentConfig's changes
  camelyon_dino,  ///< DINO's two global and several local crops of RGB histology images
  cell_dino,      ///< the same of cell images with any number of channels
};
std::span<const config::EnumName<Preset>> enum_names(Preset);

/// Views of a preset before its local crops.
inline constexpr std::int64_t kGlobalCrops = 2;

struct MultiCropConfig {
  std::int64_t global_size = 0, local_size = 0;
  std::int64_t local_crops = 8;
  bool shuffle_channels = false;

  template <class Visit>
  void fields(Visit& visit) {
    visit("global_size", global_size,
          "side of the two global crops in pixels; 0: 96 (camelyon_dino), 224 (cell_dino)",
          config::Range<std::int64_t>{0, 4096});
    visit("local_size", local_size, "side of local crops in pixels; 0: 32 (camelyon_dino), 96 (cell_dino)",
          config::Range<std::int64_t>{0, 4096});
    visit("local_crops", local_crops, "number of local crops", config::Range<std::int64_t>{0, 64});
    visit("shuffle_channels", shuffle_channels,
          "cell_dino: channels in random order, the same in all views of an image");
  }
};

/// All options of `augment`.
struct ViewConfig {
  Preset preset = Preset::whole;
  bool on_device = false;
  AugmentConfig whole;
  MultiCropConfig multi_crop;

  template <class Visit>
  void fields(Visit& visit) {
    visit("preset", preset,
          "views of a training image: one of the whole image, changed as the options of this section say; or "
          "the crops "
          "of docs/views.md");
    visit("on_device", on_device,
          "make views where the model computes, from stored pixels, instead of on loader threads: the same "
          "decisions (docs/gpu.md)");
    whole.fields(visit);
    visit.section("multi_crop", multi_crop, "sizes and numbers of crops, of the presets that have some");
  }
};

/// The views that `config` describes. Throws UsageError.
std::unique_ptr<data::ViewMaker> training_views(const ViewConfig& config,
                                                const data::Description& description,
                                                Normalisation normalisation, std::uint64_t seed,
                                                std::int64_t epoch);

/// The views of a multi-crop preset: two global ones, then the local ones. docs/views.md lists every
/// operation with its parameters. Numbers are keyed by (seed, Purpose::augment, epoch, row, view and
/// operation): no view depends on another, nor on what is switched on. Throws UsageError: camelyon_dino with
/// images that are not 8-bit RGB.
std::unique_ptr<data::ViewMaker> multi_crop(Preset preset, const MultiCropConfig& config,
                                            const data::Description& description, Normalisation normalisation,
                                            std::uint64_t seed, std::int64_t epoch);

}  // namespace cohort::augment
