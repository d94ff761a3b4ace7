#include "cohort/augment/multi_crop.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "augment/colour.h"
#include "augment/crop_box.h"
#include "augment/normaliser.h"
#include "augment/planes.h"
#include "augment/recipe.h"
#include "augment/view_geometry.h"

namespace cohort::augment {
namespace {

// What a stream of random numbers decides about one view; the view's number in the bits above.
enum : std::uint32_t {
  kCrop = 1,
  kFlip,
  kColour,
  kOrder,
  kGray,
  kBlur,
  kSolarise,
  kTurn,
  kHoles,
  kChannels,
  kDecisions = 16
};

struct Sizes {
  std::int64_t global, local;
};

/// What both presets share: the streams of an image, its views' sizes, and writing a view. `Recipe`: what is
/// random about one view.
template <class Recipe>
class MultiCrop : public data::ViewMaker {
 public:
  MultiCrop(const MultiCropConfig& config, Sizes sizes, const data::Description& description,
            Normalisation normalisation, std::uint64_t seed, std::int64_t epoch)
      : config_(config),
        sizes_(sizes),
        description_(description),
        normaliser_(description, normalisation),
        seed_(seed),
        epoch_(epoch) {}

  [[nodiscard]] std::vector<data::ViewShape> shapes() const final {
    const std::int64_t channels = description_.images.channels;
    std::vector<data::ViewShape> shapes(kGlobalCrops, {channels, sizes_.global, sizes_.global});
    shapes.resize(static_cast<std::size_t>(views()), {channels, sizes_.local, sizes_.local});
    return shapes;
  }

  void make(std::span<const std::byte> image, std::int64_t row,
            std::span<const std::span<float>> views) const final {
    Planes stored = planes_of(description_.images, image);
    if (config_.shuffle_channels) shuffle_channels(stored, channel_order(row));
    for (std::size_t v = 0; v < views.size(); ++v) {
      const auto number = static_cast<std::int64_t>(v);
      const Planes view = make_view(stored, draw_view(row, number), side_of(number));
      normaliser_.apply(view.values, views[v]);
    }
  }

  [[nodiscard]] std::int64_t recipe_bytes() const final {
    return recipe_bytes_of<Recipe>(views(), description_.images.channels);
  }

  void draw(std::int64_t row, std::span<std::byte> recipe) const final {
    std::byte* next = recipe.data();
    for (std::int64_t v = 0; v < views(); ++v, next += sizeof(Recipe)) {
      const Recipe drawn = draw_view(row, v);
      std::memcpy(next, &drawn, sizeof(drawn));
    }
    for (const std::int64_t channel : channel_order(row)) {
      const auto number = static_cast<std::int32_t>(channel);
      std::memcpy(next, &number, sizeof(number));
      next += sizeof(number);
    }
  }

  [[nodiscard]] data::ViewGeometry geometry(std::span<const std::byte> recipe, std::size_t view) const final {
    const std::int64_t side = side_of(static_cast<std::int64_t>(view));
    return geometry_of(recipe_at<Recipe>(recipe.data() + view * sizeof(Recipe)),
                       {layout().height, layout().width}, {side, side});
  }

 protected:
  [[nodiscard]] std::int64_t side_of(std::int64_t view) const noexcept {
    return view < kGlobalCrops ? sizes_.global : sizes_.local;
  }
  [[nodiscard]] const data::ImageLayout& layout() const noexcept { return description_.images; }
  [[nodiscard]] RandomStream stream(std::int64_t row, std::int64_t view, std::uint32_t decision) const {
    return RandomStream(
        {seed_, Purpose::augment, epoch_, row, static_cast<std::uint32_t>(view) * kDecisions + decision});
  }
  [[nodiscard]] bool happens(double probability, std::int64_t row, std::int64_t view,
                             std::uint32_t decision) const {
    return static_cast<double>(stream(row, view, decision).uniform()) < probability;
  }

 private:
  [[nodiscard]] virtual Recipe draw_view(std::int64_t row, std::int64_t view) const = 0;
  [[nodiscard]] virtual Planes make_view(const Planes& image, const Recipe& recipe,
                                         std::int64_t side) const = 0;

  [[nodiscard]] std::int64_t views() const noexcept { return kGlobalCrops + config_.local_crops; }

  /// Of the image that stands at each place of the views' channels.
  [[nodiscard]] std::vector<std::int64_t> channel_order(std::int64_t row) const {
    const std::int64_t channels = description_.images.channels;
    if (config_.shuffle_channels) return permutation(channels, stream(row, 0, kChannels));
    std::vector<std::int64_t> order(static_cast<std::size_t>(channels));
    std::iota(order.begin(), order.end(), 0);
    return order;
  }

  static void shuffle_channels(Planes& image, const std::vector<std::int64_t>& order) {
    const Planes before = image;
    for (std::int64_t c = 0; c < image.channels; ++c)
      std::copy_n(before.plane(order[static_cast<std::size_t>(c)]), image.pixels(), image.plane(c));
  }

  MultiCropConfig config_;
  Sizes sizes_;
  data::Description description_;
  Normaliser normaliser_;
  std::uint64_t seed_;
  std::int64_t epoch_;
};

class CamelyonDino final : public MultiCrop<ColourRecipe> {
 public:
  using MultiCrop::MultiCrop;

 private:
  ColourRecipe draw_view(std::int64_t row, std::int64_t view) const override {
    const bool global = view < kGlobalCrops;
    ColourRecipe recipe;
    recipe.box = random_crop(layout().height, layout().width, global ? 0.4 : 0.05, global ? 1.0 : 0.4,
                             stream(row, view, kCrop));
    recipe.mirrored = happens(0.5, row, view, kFlip);
    draw_jitter(recipe, stream(row, view, kColour), stream(row, view, kOrder));
    recipe.gray = happens(0.2, row, view, kGray);
    RandomStream blur = stream(row, view, kBlur);
    if (static_cast<double>(blur.uniform()) < (view == 0 ? 1.0 : view == 1 ? 0.1 : 0.5))
      recipe.blur_radius = blur.uniform(0.1, 2.0);
    recipe.solarises = view == 1 && happens(0.2, row, view, kSolarise);
    return recipe;
  }

  static void draw_jitter(ColourRecipe& recipe, RandomStream stream, const RandomStream& order) {
    recipe.jitters = stream.uniform() < 0.8F;
    if (!recipe.jitters) return;
    const auto factor = [&](double reach) {
      return static_cast<float>(stream.uniform(1.0 - reach, 1.0 + reach));
    };
    recipe.brightness = factor(0.4);
    recipe.contrast = factor(0.4);
    recipe.saturation = factor(0.2);
    recipe.hue = static_cast<float>(stream.uniform(-0.1, 0.1));
    std::uint8_t* next = recipe.order;
    for (const std::int64_t change : permutation(kColourChanges, order))
      *next++ = static_cast<std::uint8_t>(change);
  }

  Planes make_view(const Planes& image, const ColourRecipe& recipe, std::int64_t side) const override {
    Planes result = resized(image, recipe.box, side, side, Filter::bicubic, 0.0F, kHighest);
    if (recipe.mirrored) flip_horizontally(result);
    if (recipe.jitters) jitter(result, recipe);
    if (recipe.gray) make_gray(result);
    gaussian_blur(result, recipe.blur_radius);
    if (recipe.solarises) solarise(result, 128.0F);
    return result;
  }

  static void jitter(Planes& image, const ColourRecipe& recipe) {
    for (const std::uint8_t change : recipe.order) {
      if (change == kBrightness) change_brightness(image, recipe.brightness);
      if (change == kContrast) change_contrast(image, recipe.contrast);
      if (change == kSaturation) change_saturation(image, recipe.saturation);
      if (change == kHue) shift_hue(image, recipe.hue);
    }
  }
};

class CellDino final : public MultiCrop<CellRecipe> {
 public:
  using MultiCrop::MultiCrop;

 private:
  CellRecipe draw_view(std::int64_t row, std::int64_t view) const override {
    const bool global = view < kGlobalCrops;
    CellRecipe recipe;
    draw_crop(recipe, global ? 256 : 320, side_of(view), global, stream(row, view, kCrop));
    draw_turn(recipe, stream(row, view, kTurn));
    RandomStream blur = stream(row, view, kBlur);
    const std::uint64_t largest = view == 1 ? 5 : 3;
    const bool blurs = !global || blur.uniform() < 0.5F;
    if (blurs) recipe.defocus = 1 + static_cast<std::int32_t>(blur.below(largest));
    if (global) draw_holes(recipe, side_of(view), stream(row, view, kHoles));
    return recipe;
  }

  /// Pads with zeros to at least `least` pixels a side, the image at a random place in it, and takes a crop
  /// of `side` pixels, at a random place or from the middle.
  void draw_crop(CellRecipe& recipe, std::int64_t least, std::int64_t side, bool anywhere,
                 RandomStream stream) const {
    const std::int64_t height = std::max({least, layout().height, side}),
                       width = std::max({least, layout().width, side});
    const auto place = [&](std::int64_t room) {
      return static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(room) + 1));
    };
    const std::int64_t image_top = place(height - layout().height),
                       image_left = place(width - layout().width);
    const std::int64_t top = anywhere ? place(height - side) : (height - side) / 2,
                       left = anywhere ? place(width - side) : (width - side) / 2;
    recipe.top = top - image_top;
    recipe.left = left - image_left;
  }

  /// With probability 1/2 one of: a mirror image, or a rotation by up to ±90, ±180 or ±270 degrees.
  static void draw_turn(CellRecipe& recipe, RandomStream stream) {
    if (stream.uniform() >= 0.5F) return;
    const std::uint64_t kind = stream.below(5);
    recipe.turn = kind == 0 ? Turn::mirror : kind == 1 ? Turn::upside_down : Turn::rotate;
    if (recipe.turn != Turn::rotate) return;
    const double reach = 90.0 * (static_cast<double>(kind) - 1.0);
    const Rotation rotation = rotation_by(stream.uniform(-reach, reach));
    recipe.cosine = rotation.cosine;
    recipe.sine = rotation.sine;
  }

  /// With probability 1/2 1 … 10 rectangles with sides of 1 … 10 pixels become zero.
  static void draw_holes(CellRecipe& recipe, std::int64_t side, RandomStream stream) {
    if (stream.uniform() >= 0.5F) return;
    const auto up_to = [&](std::int64_t most) {
      return 1 + static_cast<std::int64_t>(
                     stream.below(static_cast<std::uint64_t>(std::max<std::int64_t>(most, 1))));
    };
    recipe.holes = static_cast<std::int32_t>(up_to(CellRecipe::kMostHoles));
    for (std::int32_t i = 0; i < recipe.holes; ++i) {
      const std::int64_t height = std::min(up_to(10), side), width = std::min(up_to(10), side);
      const std::int64_t top = up_to(side - height + 1) - 1, left = up_to(side - width + 1) - 1;
      recipe.hole[i] = {static_cast<std::int32_t>(top), static_cast<std::int32_t>(left),
                        static_cast<std::int32_t>(height), static_cast<std::int32_t>(width)};
    }
  }

  Planes make_view(const Planes& image, const CellRecipe& recipe, std::int64_t side) const override {
    Planes result = padded_crop(image, recipe, side);
    if (recipe.turn == Turn::mirror) flip_horizontally(result);
    if (recipe.turn == Turn::upside_down) flip_vertically(result);
    if (recipe.turn == Turn::rotate) result = rotated(result, {recipe.cosine, recipe.sine});
    if (recipe.defocus > 0) defocus(result, recipe.defocus);
    for (std::int32_t i = 0; i < recipe.holes; ++i) cut_hole(result, recipe.hole[i]);
    return result;
  }

  static Planes padded_crop(const Planes& image, const CellRecipe& recipe, std::int64_t side) {
    Planes crop(image.channels, side, side);
    const std::int64_t first_y = std::max<std::int64_t>(0, -recipe.top),
                       last_y = std::min(side, image.height - recipe.top),
                       first_x = std::max<std::int64_t>(0, -recipe.left),
                       last_x = std::min(side, image.width - recipe.left);
    for (std::int64_t c = 0; c < image.channels; ++c) {
      for (std::int64_t y = first_y; y < last_y && first_x < last_x; ++y) {
        std::copy_n(image.plane(c) + (y + recipe.top) * image.width + first_x + recipe.left, last_x - first_x,
                    crop.plane(c) + y * side + first_x);
      }
    }
    return crop;
  }

  static void cut_hole(Planes& image, const Rectangle& hole) {
    for (std::int64_t c = 0; c < image.channels; ++c) {
      for (std::int64_t y = hole.top; y < hole.top + hole.height; ++y)
        std::fill_n(image.plane(c) + y * image.width + hole.left, hole.width, 0.0F);
    }
  }
};

Sizes sizes_of(const MultiCropConfig& config, Sizes presets) {
  return {config.global_size > 0 ? config.global_size : presets.global,
          config.local_size > 0 ? config.local_size : presets.local};
}

void check_colour(const data::ImageLayout& layout) {
  if (layout.channels == 3 && layout.type == data::PixelType::u8) return;
  throw UsageError({fmt::format("preset camelyon_dino needs 8-bit RGB images, not {} channels of type {}",
                                layout.channels, data::pixel_type_name(layout.type)),
                    "augment.preset", "use cell_dino for other images"});
}

}  // namespace

std::span<const config::EnumName<Preset>> enum_names(Preset) {
  static constexpr std::array<config::EnumName<Preset>, 3> kNames{
      {{Preset::whole, "whole"}, {Preset::camelyon_dino, "camelyon_dino"}, {Preset::cell_dino, "cell_dino"}}};
  return kNames;
}

std::unique_ptr<data::ViewMaker> multi_crop(Preset preset, const MultiCropConfig& config,
                                            const data::Description& description, Normalisation normalisation,
                                            std::uint64_t seed, std::int64_t epoch) {
  COHORT_CHECK(preset != Preset::whole, "the preset 'whole' has no crops");
  if (preset == Preset::cell_dino) {
    return std::make_unique<CellDino>(config, sizes_of(config, {224, 96}), description, normalisation, seed,
                                      epoch);
  }
  check_colour(description.images);
  return std::make_unique<CamelyonDino>(config, sizes_of(config, {96, 32}), description, normalisation, seed,
                                        epoch);
}

std::unique_ptr<data::ViewMaker> training_views(const ViewConfig& config,
                                                const data::Description& description,
                                                Normalisation normalisation, std::uint64_t seed,
                                                std::int64_t epoch) {
  if (config.preset == Preset::whole)
    return training_view(config.whole, description, normalisation, seed, epoch);
  return multi_crop(config.preset, config.multi_crop, description, normalisation, seed, epoch);
}

}  // namespace cohort::augment
