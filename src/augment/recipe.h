#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

// All that is random about one view of one image, drawn on the host by the presets; what makes the view from
// it, on the CPU or on a device, draws nothing. Plain bytes: recipes travel to devices as they are.
namespace cohort::augment {

/// Part of an image, in pixels; need not be whole.
struct Box {
  double top = 0, left = 0, height = 0, width = 0;
};

/// In whole pixels.
struct Rectangle {
  std::int32_t top = 0, left = 0, height = 0, width = 0;
};

enum ColourChange : std::uint8_t { kBrightness, kContrast, kSaturation, kHue, kColourChanges };

/// Of the preset camelyon_dino, in the order in which they apply.
struct ColourRecipe {
  Box box;
  bool mirrored = false, jitters = false, gray = false, solarises = false;
  std::uint8_t order[kColourChanges] = {};  ///< of the jitter: ColourChange
  float brightness = 1, contrast = 1, saturation = 1, hue = 0;
  double blur_radius = 0;  ///< 0: none
};

enum class Turn : std::int32_t { none, mirror, upside_down, rotate };

/// Of the preset cell_dino, in the order in which they apply.
struct CellRecipe {
  static constexpr int kMostHoles = 10;
  std::int64_t top = 0, left = 0;  ///< of the crop in the image; what lies outside is zero
  Turn turn = Turn::none;
  std::int32_t defocus = 0;  ///< radius; 0: none
  double cosine = 1, sine = 0;
  std::int32_t holes = 0;
  Rectangle hole[kMostHoles] = {};
};

/// Of the preset whole, in the order in which they apply.
struct WholeRecipe {
  bool mirrored = false, upside_down = false, crops = false, contrasts = false, brightens = false,
       erases = false;
  std::int32_t quarter_turns = 0;
  Box box;
  float contrast = 1, brightness = 0;
  Rectangle erased;
};

/// The recipe at the beginning of `bytes`.
template <class Recipe>
Recipe recipe_at(const std::byte* bytes) {
  Recipe recipe;
  std::memcpy(&recipe, bytes, sizeof(recipe));
  return recipe;
}

/// Of one image: a recipe for each view, then the order of its channels [C] i32.
template <class Recipe>
constexpr std::int64_t recipe_bytes_of(std::int64_t views, std::int64_t channels) {
  static_assert(alignof(Recipe) == 8 && std::is_trivially_copyable_v<Recipe>);
  return views * static_cast<std::int64_t>(sizeof(Recipe)) + (channels + 1) / 2 * 8;
}

}  // namespace cohort::augment
