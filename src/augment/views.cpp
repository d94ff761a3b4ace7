#include "cohort/augment/views.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "cohort/core/error.h"
#include "cohort/data/pixel_type.h"

#include "augment/noise.h"
#include "augment/normaliser.h"
#include "augment/pixel_body.h"
#include "augment/recipe.h"
#include "augment/view_geometry.h"

namespace cohort::augment {
namespace {

constexpr std::uint32_t kView = 0;

// All random decisions for one image, drawn in a fixed order whatever the configuration.
struct Draw {
  bool flip_horizontal, flip_vertical, erase;
  std::int64_t quarter_turns;
  double crop_area, crop_top, crop_left;  // positions as a part of the free room
  double contrast, brightness;            // in [-1, 1)
  double erase_area, erase_shape, erase_top, erase_left;
};

Draw draw_decisions(const AugmentConfig& config, RandomStream& stream) {
  const auto coin = [&](double probability) { return static_cast<double>(stream.uniform()) < probability; };
  Draw draw{};
  draw.flip_horizontal = coin(0.5);
  draw.flip_vertical = coin(0.5);
  draw.quarter_turns = static_cast<std::int64_t>(stream.below(4));
  draw.crop_area = stream.uniform(config.crop_scale_min, 1.0);
  draw.crop_top = stream.uniform();
  draw.crop_left = stream.uniform();
  draw.contrast = stream.uniform(-1.0, 1.0);
  draw.brightness = stream.uniform(-1.0, 1.0);
  draw.erase = coin(config.erase);
  draw.erase_area = stream.uniform(0.02, 0.2);
  draw.erase_shape = stream.uniform(-0.5, 0.5);
  draw.erase_top = stream.uniform();
  draw.erase_left = stream.uniform();
  return draw;
}

at::Tensor flip_and_turn(at::Tensor image, const WholeRecipe& recipe) {
  if (recipe.mirrored) image = image.flip({2});
  if (recipe.upside_down) image = image.flip({1});
  if (recipe.quarter_turns != 0) image = at::rot90(image, recipe.quarter_turns, {1, 2});
  return image.contiguous();
}

std::vector<Tap> taps(std::int64_t size, double begin, double length) {
  std::vector<Tap> found(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) found[static_cast<std::size_t>(i)] = tap_of(i, size, begin, length);
  return found;
}

void resize_channel(const float* source, float* target, const std::vector<Tap>& rows,
                    const std::vector<Tap>& columns) {
  const auto width = static_cast<std::int64_t>(columns.size());
  for (const Tap& row : rows) {
    const float* const above = source + row.low * width;
    const float* const below = source + row.high * width;
    for (const Tap& column : columns) *target++ = tapped(above, below, row.weight, column);
  }
}

// [C, H, W] -> [C, H, W]: `box` of the image, resized back, bilinear between pixel centres. Sample points are
// not rounded to pixels; a loop of our own, as ATen's resize takes whole boxes only.
at::Tensor crop(const at::Tensor& image, const Box& box) {
  const std::vector<Tap> rows = taps(image.size(1), box.top, box.height);
  const std::vector<Tap> columns = taps(image.size(2), box.left, box.width);
  at::Tensor resized = at::empty_like(image);
  const std::int64_t pixels = image.size(1) * image.size(2);
  for (std::int64_t c = 0; c < image.size(0); ++c) {
    resize_channel(image.const_data_ptr<float>() + c * pixels, resized.mutable_data_ptr<float>() + c * pixels,
                   rows, columns);
  }
  return resized;
}

Box crop_box(const data::ImageLayout& layout, const Draw& draw) {
  const double side = std::sqrt(draw.crop_area);
  const auto height = static_cast<double>(layout.height), width = static_cast<double>(layout.width);
  return {draw.crop_top * (1.0 - side) * height, draw.crop_left * (1.0 - side) * width, side * height,
          side * width};
}

// A rectangle of 2 … 20 % of the area, sides in the image's proportion times 1/2 … 2.
Rectangle erased_part(const data::ImageLayout& layout, const Draw& draw) {
  const auto side = [](std::int64_t size, double part) {
    return std::clamp(static_cast<std::int64_t>(std::lround(static_cast<double>(size) * part)),
                      std::int64_t{1}, size);
  };
  const std::int64_t height = side(layout.height, std::sqrt(draw.erase_area) * std::exp2(draw.erase_shape));
  const std::int64_t width = side(layout.width, std::sqrt(draw.erase_area) * std::exp2(-draw.erase_shape));
  const auto offset = [](double part, std::int64_t room) {
    return static_cast<std::int32_t>(part * static_cast<double>(room + 1));
  };
  return {offset(draw.erase_top, layout.height - height), offset(draw.erase_left, layout.width - width),
          static_cast<std::int32_t>(height), static_cast<std::int32_t>(width)};
}

// Leaves `stream` where the numbers of the noise begin.
WholeRecipe draw_recipe(const AugmentConfig& config, const data::ImageLayout& layout, RandomStream& stream) {
  const Draw draw = draw_decisions(config, stream);
  WholeRecipe recipe;
  recipe.mirrored = config.flip_horizontal && draw.flip_horizontal;
  recipe.upside_down = config.flip_vertical && draw.flip_vertical;
  if (config.rotate90) recipe.quarter_turns = static_cast<std::int32_t>(draw.quarter_turns);
  recipe.crops = config.crop_scale_min < 1.0;
  if (recipe.crops) recipe.box = crop_box(layout, draw);
  recipe.contrasts = config.contrast > 0.0;
  recipe.contrast = static_cast<float>(1.0 + config.contrast * draw.contrast);
  recipe.brightens = config.brightness > 0.0;
  recipe.brightness = static_cast<float>(config.brightness * draw.brightness);
  recipe.erases = config.erase > 0.0 && draw.erase;
  if (recipe.erases) recipe.erased = erased_part(layout, draw);
  return recipe;
}

void change_contrast_and_brightness(at::Tensor& image, const WholeRecipe& recipe) {
  if (recipe.contrasts) {
    const at::Tensor mean = image.mean(at::IntArrayRef{1, 2}, /*keepdim=*/true);
    image.sub_(mean).mul_(recipe.contrast).add_(mean);
  }
  if (recipe.brightens) image.add_(recipe.brightness);
}

// The mean of normalised images is 0.
void erase(at::Tensor& image, const Rectangle& part) {
  image.narrow(1, part.top, part.height).narrow(2, part.left, part.width).zero_();
}

// [C, H, W] normalised -> the same shape, changed
at::Tensor change(const at::Tensor& image, const AugmentConfig& config, const data::ImageLayout& layout,
                  RandomStream stream) {
  const WholeRecipe recipe = draw_recipe(config, layout, stream);
  at::Tensor changed = flip_and_turn(image, recipe);
  if (recipe.crops) changed = crop(changed, recipe.box);
  change_contrast_and_brightness(changed, recipe);
  if (config.noise > 0.0) {
    add_noise({changed.mutable_data_ptr<float>(), static_cast<std::size_t>(changed.numel())}, config.noise,
              stream);
  }
  if (recipe.erases) erase(changed, recipe.erased);
  return changed;
}

at::Tensor per_channel(const std::vector<float>& values) {
  return at::tensor(values, at::kFloat).view({1, static_cast<std::int64_t>(values.size()), 1, 1});
}

}  // namespace

namespace {

/// One view of the size of the image: normalised, then `change`d. Of a WholeRecipe, neutral unless drawn.
class WholeImage : public data::ViewMaker {
 public:
  /// `image` [C, H, W] f32, normalised, of row `row` -> the same shape.
  using Change = std::function<at::Tensor(const at::Tensor& image, std::int64_t row)>;

  WholeImage(const data::Description& description, Normalisation normalisation, Change change)
      : description_(description), normalisation_(normalisation), change_(std::move(change)) {
    if (normalisation != Normalisation::image)
      (void)channel_statistics(description, normalisation);  // may refuse
  }

  [[nodiscard]] std::vector<data::ViewShape> shapes() const override {
    const data::ImageLayout& layout = description_.images;
    return {{layout.channels, layout.height, layout.width, layout.depth}};
  }

  /// Slices of a volume lie below each other: it is not changed but for its normalisation.
  void make(std::span<const std::byte> image, data::ViewKey key,
            std::span<const std::span<float>> views) const override {
    const c10::InferenceMode no_gradients;
    const data::ImageLayout& layout = description_.images;
    at::Tensor values =
        at::empty({1, layout.channels, layout.depth * layout.height, layout.width}, at::kFloat);
    data::visit_pixels(layout.type, image.data(), [&](const auto* stored) {
      std::copy_n(stored, layout.values(), values.mutable_data_ptr<float>());
    });
    const at::Tensor changed =
        change_(normalise(values, description_, normalisation_)[0], key.row).contiguous();
    std::copy_n(changed.const_data_ptr<float>(), layout.values(), views[0].data());
  }

  [[nodiscard]] std::int64_t recipe_bytes() const final { return recipe_bytes_of<WholeRecipe>(1, 0); }
  void draw(data::ViewKey /*key*/, std::span<std::byte> recipe) const override { write_recipe({}, recipe); }
  [[nodiscard]] data::ViewGeometry geometry(std::span<const std::byte> recipe,
                                            std::size_t /*view*/) const final {
    return geometry_of(recipe_at<WholeRecipe>(recipe.data()),
                       {description_.images.height, description_.images.width});
  }

 protected:
  static void write_recipe(const WholeRecipe& drawn, std::span<std::byte> recipe) {
    std::memcpy(recipe.data(), &drawn, sizeof(drawn));
  }

 private:
  data::Description description_;
  Normalisation normalisation_;
  Change change_;
};

class TrainingView final : public WholeImage {
 public:
  TrainingView(const AugmentConfig& config, const data::Description& description, Normalisation normalisation,
               std::uint64_t seed, std::int64_t epoch)
      : WholeImage(description, normalisation,
                   [=, layout = description.images](const at::Tensor& image, std::int64_t row) {
                     return change(image, config, layout, stream(seed, epoch, row));
                   }),
        config_(config),
        layout_(description.images),
        seed_(seed),
        epoch_(epoch) {}

  void draw(data::ViewKey key, std::span<std::byte> recipe) const override {
    RandomStream numbers = stream(seed_, epoch_, key.row);
    write_recipe(draw_recipe(config_, layout_, numbers), recipe);
  }

 private:
  static RandomStream stream(std::uint64_t seed, std::int64_t epoch, std::int64_t row) {
    return RandomStream({seed, Purpose::augment, epoch, row, kView});
  }

  AugmentConfig config_;
  data::ImageLayout layout_;
  std::uint64_t seed_;
  std::int64_t epoch_;
};

}  // namespace

std::span<const config::EnumName<Normalisation>> enum_names(Normalisation) {
  static constexpr std::array<config::EnumName<Normalisation>, 3> kNames{
      {{Normalisation::dataset, "dataset"},
       {Normalisation::image, "image"},
       {Normalisation::imagenet, "imagenet"}}};
  return kNames;
}

at::Tensor normalise(const at::Tensor& images, const data::Description& description,
                     Normalisation normalisation) {
  COHORT_CHECK(images.dim() == 4 && images.scalar_type() == at::kFloat,
               "images [B, C, H, W] f32 were promised");
  if (normalisation == Normalisation::image) {
    const auto [deviation, mean] =
        at::std_mean(images, at::IntArrayRef{2, 3}, /*unbiased=*/false, /*keepdim=*/true);
    return (images - mean).div_(deviation.clamp_min(kLeastDeviation)).contiguous();
  }
  const ChannelStatistics statistics = channel_statistics(description, normalisation);
  COHORT_CHECK(std::ssize(statistics.mean) == images.size(1), "{} means for {} channels",
               statistics.mean.size(), images.size(1));
  return (images - per_channel(statistics.mean)).div_(per_channel(statistics.deviation)).contiguous();
}

at::Tensor denormalise(const at::Tensor& images, const data::Description& description,
                       Normalisation normalisation) {
  const ChannelStatistics statistics = channel_statistics(
      description, normalisation == Normalisation::image ? Normalisation::dataset : normalisation);
  return images * per_channel(statistics.deviation) + per_channel(statistics.mean);
}

namespace {

bool changes(const AugmentConfig& config) {
  const bool moves =
      config.flip_horizontal || config.flip_vertical || config.rotate90 || config.crop_scale_min < 1.0;
  return moves || config.brightness > 0.0 || config.contrast > 0.0 || config.noise > 0.0 ||
         config.erase > 0.0;
}

}  // namespace

std::unique_ptr<data::ViewMaker> training_view(const AugmentConfig& config,
                                               const data::Description& description,
                                               Normalisation normalisation, std::uint64_t seed,
                                               std::int64_t epoch) {
  const data::ImageLayout& layout = description.images;
  if (layout.is_volume()) {
    if (!changes(config)) return evaluation_view(description, normalisation);
    throw UsageError(
        {fmt::format("the preset whole changes images, those of the dataset are volumes of depth {}",
                     layout.depth),
         "augment", "set augment.preset=volume, or a table of operations for volumes (docs/views.md)"});
  }
  if (config.rotate90 && layout.height != layout.width) {
    throw UsageError(
        {fmt::format("images of {} x {} cannot be turned by 90 degrees", layout.height, layout.width),
         "augment.rotate90", "set augment.rotate90=false, or convert the dataset to square images"});
  }
  return std::make_unique<TrainingView>(config, description, normalisation, seed, epoch);
}

std::unique_ptr<data::ViewMaker> evaluation_view(const data::Description& description,
                                                 Normalisation normalisation) {
  return std::make_unique<WholeImage>(description, normalisation,
                                      [](const at::Tensor& image, std::int64_t /*row*/) { return image; });
}

}  // namespace cohort::augment
