#include "cohort/augment/views.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numbers>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "cohort/core/error.h"
#include "cohort/data/pixel_type.h"

#include "augment/normaliser.h"

namespace cohort::augment {
namespace {

constexpr std::uint32_t kView = 0;

// Part of an image, in pixels; need not be whole.
struct Box {
  double top, left, height, width;
};

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

at::Tensor flip_and_turn(at::Tensor image, const AugmentConfig& config, const Draw& draw) {
  if (config.flip_horizontal && draw.flip_horizontal) image = image.flip({2});
  if (config.flip_vertical && draw.flip_vertical) image = image.flip({1});
  if (config.rotate90 && draw.quarter_turns != 0) image = at::rot90(image, draw.quarter_turns, {1, 2});
  return image.contiguous();
}

// Where a resized row or column reads: value = (1 - weight) * source[low] + weight * source[high].
struct Tap {
  std::int64_t low, high;
  float weight;
};

std::vector<Tap> taps(std::int64_t size, double begin, double length) {
  std::vector<Tap> found(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) {
    const double centre = begin + (static_cast<double>(i) + 0.5) * length / static_cast<double>(size) - 0.5;
    const double inside = std::clamp(centre, 0.0, static_cast<double>(size - 1));
    const auto low = static_cast<std::int64_t>(inside);
    found[static_cast<std::size_t>(i)] = {low, std::min(low + 1, size - 1),
                                          static_cast<float>(inside - std::floor(inside))};
  }
  return found;
}

void resize_channel(const float* source, float* target, const std::vector<Tap>& rows,
                    const std::vector<Tap>& columns) {
  const auto width = static_cast<std::int64_t>(columns.size());
  for (const Tap& row : rows) {
    const float* const above = source + row.low * width;
    const float* const below = source + row.high * width;
    for (const Tap& column : columns) {
      const float top = above[column.low] + column.weight * (above[column.high] - above[column.low]);
      const float bottom = below[column.low] + column.weight * (below[column.high] - below[column.low]);
      *target++ = top + row.weight * (bottom - top);
    }
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

Box crop_box(const at::Tensor& image, const Draw& draw) {
  const double side = std::sqrt(draw.crop_area);
  const auto height = static_cast<double>(image.size(1)), width = static_cast<double>(image.size(2));
  return {draw.crop_top * (1.0 - side) * height, draw.crop_left * (1.0 - side) * width, side * height,
          side * width};
}

void change_contrast_and_brightness(at::Tensor& image, const AugmentConfig& config, const Draw& draw) {
  if (config.contrast > 0.0) {
    const at::Tensor mean = image.mean(at::IntArrayRef{1, 2}, /*keepdim=*/true);
    image.sub_(mean).mul_(1.0 + config.contrast * draw.contrast).add_(mean);
  }
  if (config.brightness > 0.0) image.add_(config.brightness * draw.brightness);
}

// Normal numbers as the inverse distribution function at the middle of each uniform number's interval:
// vectorised, unlike Box–Muller.
void add_noise(at::Tensor& image, double deviation, RandomStream& stream) {
  at::Tensor values = at::empty_like(image);
  stream.fill_uniform(std::span(values.mutable_data_ptr<float>(), static_cast<std::size_t>(values.numel())));
  image.add_(values.mul_(2.0).sub_(1.0).add_(0x1.0p-24).erfinv_(), deviation * std::numbers::sqrt2);
}

// The mean of normalised images is 0. A rectangle of 2 … 20 % of the area, sides in the image's proportion
// times 1/2 … 2.
void erase_rectangle(at::Tensor& image, const Draw& draw) {
  const auto side = [](std::int64_t size, double part) {
    return std::clamp(static_cast<std::int64_t>(std::lround(static_cast<double>(size) * part)),
                      std::int64_t{1}, size);
  };
  const std::int64_t height = side(image.size(1), std::sqrt(draw.erase_area) * std::exp2(draw.erase_shape));
  const std::int64_t width = side(image.size(2), std::sqrt(draw.erase_area) * std::exp2(-draw.erase_shape));
  const auto offset = [](double part, std::int64_t room) {
    return static_cast<std::int64_t>(part * static_cast<double>(room + 1));
  };
  image.narrow(1, offset(draw.erase_top, image.size(1) - height), height)
      .narrow(2, offset(draw.erase_left, image.size(2) - width), width)
      .zero_();
}

// [C, H, W] normalised -> the same shape, changed
at::Tensor change(const at::Tensor& image, const AugmentConfig& config, RandomStream stream) {
  const Draw draw = draw_decisions(config, stream);
  at::Tensor changed = flip_and_turn(image, config, draw);
  if (config.crop_scale_min < 1.0) changed = crop(changed, crop_box(changed, draw));
  change_contrast_and_brightness(changed, config, draw);
  if (config.noise > 0.0) add_noise(changed, config.noise, stream);
  if (config.erase > 0.0 && draw.erase) erase_rectangle(changed, draw);
  return changed;
}

at::Tensor per_channel(const std::vector<float>& values) {
  return at::tensor(values, at::kFloat).view({1, static_cast<std::int64_t>(values.size()), 1, 1});
}

}  // namespace

namespace {

/// One view of the size of the image: normalised, then `change`d.
class WholeImage final : public data::ViewMaker {
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
    return {{layout.channels, layout.height, layout.width}};
  }

  void make(std::span<const std::byte> image, std::int64_t row,
            std::span<const std::span<float>> views) const override {
    const c10::InferenceMode no_gradients;
    const data::ImageLayout& layout = description_.images;
    at::Tensor values = at::empty({1, layout.channels, layout.height, layout.width}, at::kFloat);
    data::visit_pixels(layout.type, image.data(), [&](const auto* stored) {
      std::copy_n(stored, layout.values(), values.mutable_data_ptr<float>());
    });
    const at::Tensor changed = change_(normalise(values, description_, normalisation_)[0], row).contiguous();
    std::copy_n(changed.const_data_ptr<float>(), layout.values(), views[0].data());
  }

 private:
  data::Description description_;
  Normalisation normalisation_;
  Change change_;
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

std::unique_ptr<data::ViewMaker> training_view(const AugmentConfig& config,
                                               const data::Description& description,
                                               Normalisation normalisation, std::uint64_t seed,
                                               std::int64_t epoch) {
  const data::ImageLayout& layout = description.images;
  if (config.rotate90 && layout.height != layout.width) {
    throw UsageError(
        {fmt::format("images of {} x {} cannot be turned by 90 degrees", layout.height, layout.width),
         "augment.rotate90", "set augment.rotate90=false, or convert the dataset to square images"});
  }
  return std::make_unique<WholeImage>(
      description, normalisation, [=](const at::Tensor& image, std::int64_t row) {
        return change(image, config, RandomStream({seed, Purpose::augment, epoch, row, kView}));
      });
}

std::unique_ptr<data::ViewMaker> evaluation_view(const data::Description& description,
                                                 Normalisation normalisation) {
  return std::make_unique<WholeImage>(description, normalisation,
                                      [](const at::Tensor& image, std::int64_t /*row*/) { return image; });
}

}  // namespace cohort::augment
