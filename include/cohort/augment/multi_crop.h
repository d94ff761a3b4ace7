#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/augment/policy.h"
#include "cohort/augment/views.h"
#include "cohort/config/field.h"
#include "cohort/data/description.h"
#include "cohort/data/view_maker.h"

namespace cohort::augment {

/// The preset of one view of the size of the image, changed as AugmentConfig says.
inline constexpr std::string_view kWholeImage = "whole";

/// Views of a preset before its local crops.
inline constexpr std::int64_t kGlobalCrops = 2;

struct MultiCropConfig {
  std::int64_t global_size = 0, local_size = 0;
  std::int64_t local_crops = 8;
  bool shuffle_channels = false;

  template <class Visit>
  void fields(Visit& visit) {
    visit(
        "global_size", global_size,
        "side of the global crops in pixels; 0: 96 (camelyon_dino), 224 (cell_dino), else that of the image",
        config::Range<std::int64_t>{0, 4096});
    visit("local_size", local_size,
          "side of local crops in pixels; 0: 32 (camelyon_dino), 96 (cell_dino), else that of the image",
          config::Range<std::int64_t>{0, 4096});
    visit("local_crops", local_crops, "number of local crops", config::Range<std::int64_t>{0, 64});
    visit("shuffle_channels", shuffle_channels,
          "channels in random order, the same in all views of an image; not of the preset whole");
  }
};

/// All options of `augment`.
struct ViewConfig {
  std::string preset{kWholeImage};
  bool on_device = false;
  AugmentConfig whole;
  MultiCropConfig multi_crop;
  Policy policy;

  template <class Visit>
  void fields(Visit& visit) {
    visit("preset", preset,
          "views of a training image: whole (one of the whole image, changed as the options of this section "
          "say), camelyon_dino or cell_dino (crops), a table of operations of configs/augment by its name, "
          "or a "
          "YAML file that has one (docs/views.md)");
    visit("on_device", on_device,
          "make views where the model computes, from stored pixels, instead of on loader threads: the same "
          "decisions (docs/gpu.md)");
    whole.fields(visit);
    visit.section("multi_crop", multi_crop, "sizes and numbers of crops, of the presets that have some");
    visit.section(
        "policy", policy,
        "the table of operations of a preset that does not come with the program; read from its file "
        "unless given");
  }
};

/// Presets that come with the program: whole, camelyon_dino, cell_dino. Any other name is one of a table that
/// stands in ViewConfig::policy.
std::vector<std::string> preset_names();

/// How many local crops there are.
std::int64_t local_crops(const ViewConfig& config);

/// Throws UsageError: operations, options or values that there are not.
void check(const Policy& policy);

/// The views that `config` describes: of the preset whole one (training_view()), of tables `global_views` (2
/// of those that come with the program) and the local crops. docs/views.md lists every operation with its
/// options. Numbers are keyed by (seed, Purpose::augment, epoch, row, view and operation): no view depends on
/// another, nor on what is switched on. Throws UsageError: operations that the images cannot have, as jitter
/// of what is not 8-bit RGB.
std::unique_ptr<data::ViewMaker> training_views(const ViewConfig& config,
                                                const data::Description& description,
                                                Normalisation normalisation, std::uint64_t seed,
                                                std::int64_t epoch, std::int64_t global_views = kGlobalCrops);

}  // namespace cohort::augment
