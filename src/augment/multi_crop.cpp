#include "cohort/augment/multi_crop.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "augment/colour.h"
#include "augment/crop_box.h"
#include "augment/normaliser.h"
#include "augment/planes.h"

namespace cohort::augment {
namespace {

constexpr std::int64_t kGlobalCrops = 2;
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

/// What both presets share: the streams of an image, its views' sizes, and writing a view.
class MultiCrop : public data::ViewMaker {
 public:
  MultiCrop(const MultiCropConfig& config, Sizes sizes, const data::Description& description,
            Normalisation normalisation, std::uint64_t seed, std::int64_t epoch)
      : config_(config),
        sizes_{config.global_size > 0 ? config.global_size : sizes.global,
               config.local_size > 0 ? config.local_size : sizes.local},
        description_(description),
        normaliser_(description, normalisation),
        seed_(seed),
        epoch_(epoch) {}

  [[nodiscard]] std::vector<data::ViewShape> shapes() const final {
    const std::int64_t channels = description_.images.channels;
    std::vector<data::ViewShape> shapes(kGlobalCrops, {channels, sizes_.global, sizes_.global});
    shapes.resize(static_cast<std::size_t>(kGlobalCrops + config_.local_crops),
                  {channels, sizes_.local, sizes_.local});
    return shapes;
  }

  void make(std::span<const std::byte> image, std::int64_t row,
            std::span<const std::span<float>> views) const final {
    Planes stored = planes_of(description_.images, image);
    if (config_.shuffle_channels) shuffle_channels(stored, row);
    for (std::size_t v = 0; v < views.size(); ++v) {
      const Planes view = make_view(stored, row, static_cast<std::int64_t>(v));
      normaliser_.apply(view.values, views[v]);
    }
  }

 protected:
  [[nodiscard]] const Sizes& sizes() const noexcept { return sizes_; }
  [[nodiscard]] RandomStream stream(std::int64_t row, std::int64_t view, std::uint32_t decision) const {
    return RandomStream(
        {seed_, Purpose::augment, epoch_, row, static_cast<std::uint32_t>(view) * kDecisions + decision});
  }
  [[nodiscard]] bool happens(double probability, std::int64_t row, std::int64_t view,
                             std::uint32_t decision) const {
    return static_cast<double>(stream(row, view, decision).uniform()) < probability;
  }

 private:
  virtual Planes make_view(const Planes& image, std::int64_t row, std::int64_t view) const = 0;

  void shuffle_channels(Planes& image, std::int64_t row) const {
    const auto order = permutation(image.channels, stream(row, 0, kChannels));
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

class CamelyonDino final : public MultiCrop {
 public:
  using MultiCrop::MultiCrop;

 private:
  Planes make_view(const Planes& image, std::int64_t row, std::int64_t view) const override {
    const bool global = view < kGlobalCrops;
    const std::int64_t side = global ? sizes().global : sizes().local;
    const Box box = global ? random_crop(image.height, image.width, 0.4, 1.0, stream(row, view, kCrop))
                           : random_crop(image.height, image.width, 0.05, 0.4, stream(row, view, kCrop));
    Planes result = resized(image, box, side, side, Filter::bicubic, 0.0F, 255.0F);
    if (happens(0.5, row, view, kFlip)) flip_horizontally(result);
    jitter(result, stream(row, view, kColour), stream(row, view, kOrder));
    if (happens(0.2, row, view, kGray)) make_gray(result);
    blur(result, view == 0 ? 1.0 : view == 1 ? 0.1 : 0.5, stream(row, view, kBlur));
    if (view == 1 && happens(0.2, row, view, kSolarise)) solarise(result, 128.0F);
    return result;
  }

  static void jitter(Planes& image, RandomStream stream, const RandomStream& order) {
    if (stream.uniform() >= 0.8F) return;
    const auto factor = [&](double reach) {
      return static_cast<float>(stream.uniform(1.0 - reach, 1.0 + reach));
    };
    const float brightness = factor(0.4), contrast = factor(0.4), saturation = factor(0.2);
    const auto hue = static_cast<float>(stream.uniform(-0.1, 0.1));
    for (const std::int64_t operation : permutation(4, order)) {
      if (operation == 0) change_brightness(image, brightness);
      if (operation == 1) change_contrast(image, contrast);
      if (operation == 2) change_saturation(image, saturation);
      if (operation == 3) shift_hue(image, hue);
    }
  }

  static void blur(Planes& image, double probability, RandomStream stream) {
    if (static_cast<double>(stream.uniform()) < probability) gaussian_blur(image, stream.uniform(0.1, 2.0));
  }
};

class CellDino final : public MultiCrop {
 public:
  using MultiCrop::MultiCrop;

 private:
  Planes make_view(const Planes& image, std::int64_t row, std::int64_t view) const override {
    const bool global = view < kGlobalCrops;
    Planes result = global ? padded_crop(image, 256, sizes().global, true, stream(row, view, kCrop))
                           : padded_crop(image, 320, sizes().local, false, stream(row, view, kCrop));
    turn(result, stream(row, view, kTurn));
    RandomStream blur = stream(row, view, kBlur);
    const std::uint64_t largest = view == 1 ? 5 : 3;
    const bool blurs = !global || blur.uniform() < 0.5F;
    if (blurs) defocus(result, 1 + static_cast<std::int64_t>(blur.below(largest)));
    if (global) cut_holes(result, stream(row, view, kHoles));
    return result;
  }

  /// Pads with zeros to at least `least` pixels a side, the image at a random place in it, and takes a crop
  /// of `side` pixels, at a random place or from the middle.
  static Planes padded_crop(const Planes& image, std::int64_t least, std::int64_t side, bool anywhere,
                            RandomStream stream) {
    const std::int64_t height = std::max({least, image.height, side}),
                       width = std::max({least, image.width, side});
    const auto place = [&](std::int64_t room) {
      return static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(room) + 1));
    };
    const std::int64_t image_top = place(height - image.height), image_left = place(width - image.width);
    const std::int64_t top = anywhere ? place(height - side) : (height - side) / 2,
                       left = anywhere ? place(width - side) : (width - side) / 2;
    Planes crop(image.channels, side, side);
    const std::int64_t first_y = std::max<std::int64_t>(0, image_top - top),
                       last_y = std::min(side, image_top + image.height - top),
                       first_x = std::max<std::int64_t>(0, image_left - left),
                       last_x = std::min(side, image_left + image.width - left);
    for (std::int64_t c = 0; c < image.channels; ++c) {
      for (std::int64_t y = first_y; y < last_y && first_x < last_x; ++y) {
        std::copy_n(image.plane(c) + (y + top - image_top) * image.width + first_x + left - image_left,
                    last_x - first_x, crop.plane(c) + y * side + first_x);
      }
    }
    return crop;
  }

  /// With probability 1/2 one of: a mirror image, or a rotation by up to ±90, ±180 or ±270 degrees.
  static void turn(Planes& image, RandomStream stream) {
    if (stream.uniform() >= 0.5F) return;
    const std::uint64_t kind = stream.below(5);
    if (kind == 0) flip_horizontally(image);
    if (kind == 1) flip_vertically(image);
    const double reach = 90.0 * (static_cast<double>(kind) - 1.0);
    if (kind >= 2) image = rotated(image, stream.uniform(-reach, reach));
  }

  /// With probability 1/2 1 … 10 rectangles with sides of 1 … 10 pixels become zero.
  static void cut_holes(Planes& image, RandomStream stream) {
    if (stream.uniform() >= 0.5F) return;
    const auto up_to = [&](std::int64_t most) {
      return 1 + static_cast<std::int64_t>(
                     stream.below(static_cast<std::uint64_t>(std::max<std::int64_t>(most, 1))));
    };
    for (std::int64_t left = up_to(10); left > 0; --left) {
      const std::int64_t height = std::min(up_to(10), image.height), width = std::min(up_to(10), image.width);
      const std::int64_t top = up_to(image.height - height + 1) - 1, x = up_to(image.width - width + 1) - 1;
      for (std::int64_t c = 0; c < image.channels; ++c) {
        for (std::int64_t y = top; y < top + height; ++y)
          std::fill_n(image.plane(c) + y * image.width + x, width, 0.0F);
      }
    }
  }
};

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
    return std::make_unique<CellDino>(config, Sizes{224, 96}, description, normalisation, seed, epoch);
  }
  check_colour(description.images);
  return std::make_unique<CamelyonDino>(config, Sizes{96, 32}, description, normalisation, seed, epoch);
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
