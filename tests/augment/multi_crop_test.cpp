#include "cohort/augment/multi_crop.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "augment/colour.h"
#include "augment/crop_box.h"
#include "augment/planes.h"
#include "preset_of.h"

namespace cohort::augment {
namespace {

data::Description description_of(std::int64_t channels, std::int64_t side, data::PixelType type) {
  data::Description description;
  description.images = {type, channels, side, side};
  description.mean.assign(static_cast<std::size_t>(channels), 0.0);
  description.deviation.assign(static_cast<std::size_t>(channels), 1.0);
  return description;
}

std::vector<std::uint8_t> random_bytes(std::int64_t count, std::uint64_t seed) {
  RandomStream stream({.seed = seed, .purpose = Purpose::synthetic});
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count));
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(stream.below(256));
  return bytes;
}

std::vector<std::vector<float>> views_of(const data::ViewMaker& maker, const std::vector<std::uint8_t>& image,
                                         std::int64_t row) {
  std::vector<std::vector<float>> views;
  for (const data::ViewShape& shape : maker.shapes())
    views.emplace_back(static_cast<std::size_t>(shape.values()));
  const std::vector<std::span<float>> spans(views.begin(), views.end());
  maker.make(std::as_bytes(std::span(image)), row, spans);
  return views;
}

TEST(MultiCrop, ViewsDependOnSeedEpochAndRowAlone) {
  const auto rgb = description_of(3, 48, data::PixelType::u8);
  const auto image = random_bytes(3 * 48 * 48, 1);
  const auto make = [&](std::uint64_t seed, std::int64_t epoch, std::int64_t row, std::int64_t crops) {
    const auto maker = training_views(preset_of("camelyon_dino", {.local_crops = crops}), rgb,
                                      Normalisation::imagenet, seed, epoch);
    return views_of(*maker, image, row);
  };
  const auto views = make(1, 2, 3, 8);

  EXPECT_EQ(views.size(), 10U);
  EXPECT_EQ(make(1, 2, 3, 8), views);
  const auto fewer = make(1, 2, 3, 2);
  EXPECT_TRUE(std::equal(fewer.begin(), fewer.end(), views.begin()))
      << "a view does not depend on the others";
  EXPECT_NE(make(2, 2, 3, 8), views);
  EXPECT_NE(make(1, 3, 3, 8), views);
  EXPECT_NE(make(1, 2, 4, 8), views);
  EXPECT_NE(views[0], views[1]);
}

TEST(MultiCrop, SizesAreThePresetsOrThoseGiven) {
  const auto rgb = description_of(3, 96, data::PixelType::u8),
             cells = description_of(5, 160, data::PixelType::u16);
  const auto shapes = [](const auto& maker) { return maker->shapes(); };
  const auto camelyon = shapes(
      training_views(preset_of("camelyon_dino", {.local_crops = 1}), rgb, Normalisation::dataset, 1, 0));
  EXPECT_EQ(camelyon, (std::vector<data::ViewShape>{{3, 96, 96}, {3, 96, 96}, {3, 32, 32}}));
  const auto cell = shapes(training_views(preset_of("cell_dino", {.global_size = 64, .local_crops = 1}),
                                          cells, Normalisation::dataset, 1, 0));
  EXPECT_EQ(cell, (std::vector<data::ViewShape>{{5, 64, 64}, {5, 64, 64}, {5, 96, 96}}));
}

TEST(MultiCrop, CamelyonDinoIsForColourImages) {
  EXPECT_THROW(training_views(preset_of("camelyon_dino"), description_of(1, 96, data::PixelType::u8),
                              Normalisation::dataset, 1, 0),
               UsageError);
  EXPECT_THROW(training_views(preset_of("cell_dino"), description_of(5, 96, data::PixelType::u8),
                              Normalisation::imagenet, 1, 0),
               UsageError);
}

TEST(CellDino, KeepsValuesOfTheImageOrZero) {
  // A constant image stays constant under flips, rotation and blur where the padding does not reach.
  const auto cells = description_of(2, 320, data::PixelType::u8);
  const std::vector<std::uint8_t> image(2 * 320 * 320, 77);
  const auto maker =
      training_views(preset_of("cell_dino", {.local_crops = 2}), cells, Normalisation::dataset, 1, 0);
  for (std::int64_t row = 0; row < 5; ++row) {
    const auto views = views_of(*maker, image, row);
    for (std::size_t v = 0; v < views.size(); ++v) {
      for (const float value : views[v])
        ASSERT_TRUE(std::abs(value - 77.0F) < 1e-2F || (v < 2 && value == 0.0F)) << value;
    }
  }
}

TEST(CellDino, ShuffledChannelsAreTheSameInAllViews) {
  const auto cells = description_of(4, 330, data::PixelType::u8);
  std::vector<std::uint8_t> image;
  for (const std::uint8_t level : {10, 20, 30, 40}) image.insert(image.end(), 330 * 330, level);
  const auto maker = training_views(preset_of("cell_dino", {.local_crops = 3, .shuffle_channels = true}),
                                    cells, Normalisation::dataset, 3, 0);
  std::set<std::vector<long>> orders;
  for (std::int64_t row = 0; row < 20; ++row) {
    std::set<std::vector<long>> of_image;
    for (const auto& view : views_of(*maker, image, row)) {
      std::vector<long> levels;
      for (std::size_t c = 0; c < 4; ++c) {
        const auto plane = std::span(view).subspan(c * view.size() / 4, view.size() / 4);
        levels.push_back(std::lround(*std::max_element(plane.begin(), plane.end())));
      }
      of_image.insert(levels);
    }
    EXPECT_EQ(of_image.size(), 1U);
    orders.merge(of_image);
  }
  EXPECT_GT(orders.size(), 5U);
}

/// Largest distance between the distribution of `values` and the uniform one on [low, high]
/// (Kolmogorov–Smirnov).
double distance_from_uniform(std::vector<double> values, double low, double high) {
  std::sort(values.begin(), values.end());
  double distance = 0.0;
  const auto count = static_cast<double>(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double expected = (values[i] - low) / (high - low);
    distance = std::max({distance, std::abs(expected - static_cast<double>(i) / count),
                         std::abs(expected - static_cast<double>(i + 1) / count)});
  }
  return distance;
}

// Of small parts of a large image, where no attempt fails and rounding to whole pixels hardly matters.
TEST(RandomCrop, AreasAreUniformAndAspectsLogUniform) {
  constexpr int kCount = 4000;
  std::vector<double> areas, aspects;
  for (int i = 0; i < kCount; ++i) {
    const Box box = random_crop(2000, 3000, 0.05, 0.4, RandomStream(RandomKey{.seed = 5, .sample = i}));
    areas.push_back(box.height * box.width / (2000.0 * 3000.0));
    aspects.push_back(std::log(box.width / box.height));
    EXPECT_TRUE(box.top >= 0 && box.left >= 0 && box.top + box.height <= 2000 &&
                box.left + box.width <= 3000);
  }
  const double bound = 1.95 / std::sqrt(kCount);  // exceeded with probability 0.001
  EXPECT_LT(distance_from_uniform(areas, 0.05, 0.4), bound);
  EXPECT_LT(distance_from_uniform(aspects, std::log(0.75), std::log(4.0 / 3.0)), bound);
}

TEST(RandomCrop, FallsBackToTheMiddle) {
  const Box box = random_crop(10, 100, 0.9, 1.0, RandomStream(RandomKey{.seed = 5}));
  EXPECT_EQ(box.height, 10);
  EXPECT_EQ(box.width, 13);
  EXPECT_EQ(box.left, 43);
}

Planes ramp(std::int64_t channels, std::int64_t height, std::int64_t width) {
  Planes image(channels, height, width);
  std::iota(image.values.begin(), image.values.end(), 1.0F);
  return image;
}

TEST(Operations, ResizingToTheSameSizeChangesNothing) {
  const Planes image = ramp(2, 7, 5);
  for (const Filter filter : {Filter::bilinear, Filter::bicubic}) {
    const Planes same = resized(image, {0, 0, 7, 5}, 7, 5, filter, 0.0F, 1e6F);
    for (std::size_t i = 0; i < image.values.size(); ++i) EXPECT_NEAR(same.values[i], image.values[i], 1e-4F);
  }
}

TEST(Operations, FlipsTwiceAreTheImage) {
  Planes image = ramp(2, 5, 4);
  flip_horizontally(image);
  EXPECT_EQ(image.values[0], 4.0F);
  flip_vertically(image);
  EXPECT_EQ(image.values[0], 20.0F);
  flip_horizontally(image);
  flip_vertically(image);
  EXPECT_EQ(image.values, ramp(2, 5, 4).values);
}

TEST(Operations, QuarterTurnsMoveTheRightSideUp) {
  const Planes image = ramp(1, 3, 3);
  const std::vector<float> turned{3, 6, 9, 2, 5, 8, 1, 4, 7};
  const Planes result = rotated(image, 90.0);
  for (std::size_t i = 0; i < turned.size(); ++i) EXPECT_NEAR(result.values[i], turned[i], 1e-4F);
}

// Far from the borders a blur spreads a point and loses nothing of it.
TEST(Operations, BlursKeepTheSumOfAPoint) {
  for (int kind = 0; kind < 2; ++kind) {
    Planes image(1, 41, 41);
    image.values[20 * 41 + 20] = 100.0F;
    if (kind == 0) gaussian_blur(image, 1.7);
    if (kind == 1) defocus(image, 3);
    EXPECT_NEAR(std::accumulate(image.values.begin(), image.values.end(), 0.0), 100.0, 1e-3);
    EXPECT_LT(image.values[20 * 41 + 20], 30.0F);
    EXPECT_NEAR(image.values[20 * 41 + 22], image.values[18 * 41 + 20], 1e-5F) << "symmetric";
  }
}

TEST(Operations, HueOfPureColoursTurns) {
  Planes image(3, 1, 1);
  image.values = {255.0F, 0.0F, 0.0F};
  shift_hue(image, 1.0F / 3.0F);
  EXPECT_NEAR(image.values[0], 0.0F, 1.0F);
  EXPECT_NEAR(image.values[1], 255.0F, 1.0F);
  EXPECT_NEAR(image.values[2], 0.0F, 1.0F);
}

}  // namespace
}  // namespace cohort::augment
