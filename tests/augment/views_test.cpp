#include "cohort/augment/views.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

namespace cohort {
namespace {

using augment::AugmentConfig;
using augment::Normalisation;

data::Description description_of(std::int64_t channels, std::int64_t height, std::int64_t width) {
  data::Description description;
  description.images = {data::PixelType::f32, channels, height, width};
  for (std::int64_t c = 0; c < channels; ++c) {
    description.mean.push_back(100.0 + static_cast<double>(c));
    description.deviation.push_back(20.0 + 5.0 * static_cast<double>(c));
  }
  return description;
}

// Every pixel of every image another value.
at::Tensor distinct_images(std::int64_t images, std::int64_t channels, std::int64_t height,
                           std::int64_t width) {
  return at::arange(images * channels * height * width, at::kFloat).view({images, channels, height, width});
}

/// `images` [B, C, H, W] f32, as a dataset of that type would store them.
at::Tensor views_of(const data::ViewMaker& maker, const at::Tensor& images,
                    const std::vector<std::int64_t>& rows) {
  at::Tensor result = at::empty_like(images);
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    const at::Tensor image = images[i].contiguous();
    const std::span<const float> stored(image.const_data_ptr<float>(),
                                        static_cast<std::size_t>(image.numel()));
    const std::span<float> view(result[i].mutable_data_ptr<float>(), stored.size());
    maker.make(std::as_bytes(stored), rows.empty() ? i : rows[static_cast<std::size_t>(i)],
               std::span(&view, 1));
  }
  return result;
}

at::Tensor changed(const AugmentConfig& config, const at::Tensor& images,
                   const std::vector<std::int64_t>& rows, std::int64_t epoch = 3) {
  const auto description = description_of(images.size(1), images.size(2), images.size(3));
  const auto maker = augment::training_view(config, description, Normalisation::dataset, /*seed=*/9, epoch);
  return views_of(*maker, images, rows);
}

std::vector<std::int64_t> first_rows(std::int64_t count) {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < count; ++row) rows.push_back(row);
  return rows;
}

// As many images as the statistics below need, all alike.
constexpr std::int64_t kMany = 800;

at::Tensor many(const at::Tensor& image) {
  return image.expand({kMany, -1, -1, -1}).contiguous();
}

AugmentConfig everything() {
  return {.flip_horizontal = true,
          .flip_vertical = true,
          .rotate90 = true,
          .crop_scale_min = 0.5,
          .brightness = 0.2,
          .contrast = 0.3,
          .noise = 0.1,
          .erase = 0.5};
}

TEST(Normalise, ByTheDatasetsStatistics) {
  at::Tensor images = at::empty({1, 2, 1, 1});
  images[0][0][0][0] = 140.0;
  images[0][1][0][0] = 51.0;
  const at::Tensor normalised = augment::normalise(images, description_of(2, 1, 1), Normalisation::dataset);
  EXPECT_FLOAT_EQ(normalised[0][0].item<float>(), 2.0F);
  EXPECT_FLOAT_EQ(normalised[0][1].item<float>(), -2.0F);
}

TEST(Normalise, CanBeUndone) {
  const at::Tensor images = at::arange(2 * 2 * 3 * 4).view({2, 2, 3, 4}).to(at::kFloat);
  const data::Description description = description_of(2, 3, 4);
  const at::Tensor normalised = augment::normalise(images, description, Normalisation::dataset);
  EXPECT_TRUE(
      augment::denormalise(normalised, description, Normalisation::dataset).allclose(images, 0, 1e-3));
}

TEST(Normalise, ByTheImagesOwnStatistics) {
  const at::Tensor images = distinct_images(3, 2, 4, 5);
  const at::Tensor normalised = augment::normalise(images, description_of(2, 4, 5), Normalisation::image);
  EXPECT_LE(normalised.mean(at::IntArrayRef{2, 3}).abs().max().item<double>(), 1e-5);
  EXPECT_LE((normalised.square().mean(at::IntArrayRef{2, 3}) - 1.0).abs().max().item<double>(), 1e-5);
}

TEST(Normalise, AFlatImageStaysFinite) {
  auto flat = description_of(1, 2, 2);
  flat.deviation = {0.0};
  const at::Tensor images = at::full({1, 1, 2, 2}, 100.0F);
  for (const auto normalisation : {Normalisation::dataset, Normalisation::image}) {
    EXPECT_EQ(augment::normalise(images, flat, normalisation).abs().max().item<double>(), 0.0);
  }
}

TEST(TrainingView, NeutralConfigurationOnlyNormalises) {
  const at::Tensor images = distinct_images(4, 3, 6, 5);
  const at::Tensor plain =
      views_of(*augment::evaluation_view(description_of(3, 6, 5), Normalisation::dataset), images, {});
  EXPECT_TRUE(at::equal(changed({}, images, first_rows(4)), plain));
}

TEST(TrainingView, DependsOnRowAndEpochNotOnTheBatch) {
  const at::Tensor images = distinct_images(4, 2, 8, 8);
  const at::Tensor together = changed(everything(), images, {17, 2, 900, 5});
  const at::Tensor alone = changed(everything(), images.narrow(0, 2, 1), {900});
  EXPECT_TRUE(at::equal(alone[0], together[2]));
  EXPECT_FALSE(at::equal(changed(everything(), images.narrow(0, 2, 1), {901})[0], together[2]));
  EXPECT_FALSE(at::equal(changed(everything(), images.narrow(0, 2, 1), {900}, /*epoch=*/4)[0], together[2]));
}

TEST(TrainingView, LeavesTheStoredImagesAlone) {
  const at::Tensor images = distinct_images(2, 1, 8, 8), before = images.clone();
  changed(everything(), images, {1, 2});
  EXPECT_TRUE(at::equal(images, before));
}

TEST(TrainingView, FlipsAndTurnsAreTheEightOfASquareEquallyOften) {
  const at::Tensor image = distinct_images(1, 1, 3, 3);
  const at::Tensor plain = changed({}, image, {0})[0];
  const at::Tensor views =
      changed({.flip_horizontal = true, .rotate90 = true}, many(image), first_rows(kMany));
  std::int64_t found = 0;
  for (const bool flip : {false, true}) {
    for (std::int64_t turns = 0; turns < 4; ++turns) {
      const at::Tensor expected = at::rot90(flip ? plain.flip({2}) : plain, turns, {1, 2});
      const auto count = views.eq(expected).flatten(1).all(1).sum().item<std::int64_t>();
      EXPECT_NEAR(static_cast<double>(count), kMany / 8.0, 4.0 * std::sqrt(kMany / 8.0));
      found += count;
    }
  }
  EXPECT_EQ(found, kMany);
}

TEST(TrainingView, OneOptionDoesNotChangeTheDrawsOfAnother) {
  const at::Tensor images = distinct_images(50, 1, 4, 4);
  const at::Tensor flipped = changed({.flip_vertical = true}, images, first_rows(50));
  const at::Tensor brighter = changed({.flip_vertical = true, .brightness = 0.5}, images, first_rows(50));
  const at::Tensor shift = (brighter - flipped).flatten(1);
  EXPECT_LE((shift.amax(1) - shift.amin(1)).max().item<double>(), 1e-4);
}

TEST(TrainingView, CropReadsAnAffineMapOfTheImage) {
  // Bilinear reading of the column number gives the column: inside the clamped edges, neighbours differ by
  // the side of the crop.
  const at::Tensor image = at::arange(32, at::kFloat).expand({1, 1, 16, 32});
  const at::Tensor views =
      (changed({.crop_scale_min = 0.25}, many(image), first_rows(kMany)) * 20.0 + 100.0).select(1, 0);
  const at::Tensor columns = views.select(1, 0);  // [B, W]
  const at::Tensor steps = columns.diff(1, 1).narrow(1, 2, 27);
  const at::Tensor side = steps.mean(1);

  EXPECT_LE((steps - side.unsqueeze(1)).abs().max().item<double>(), 1e-4);
  EXPECT_TRUE(at::allclose(views, columns.unsqueeze(1).expand_as(views)));
  EXPECT_GE(side.min().item<double>(), 0.5 - 1e-4);
  EXPECT_LE(side.max().item<double>(), 1.0 + 1e-4);
  // The area is uniform in [1/4, 1], the position uniform in the room that is left.
  EXPECT_NEAR(side.square().mean().item<double>(), 0.625, 4.0 * 0.75 / std::sqrt(12.0 * kMany));
  EXPECT_NEAR(columns.mean().item<double>(), 15.5, 0.5);
  EXPECT_GE(columns.min().item<double>(), 0.0);
  EXPECT_LE(columns.max().item<double>(), 31.0);
}

TEST(TrainingView, BrightnessContrastAndNoiseHaveTheStatedSizes) {
  const at::Tensor image = distinct_images(1, 1, 8, 8);
  const at::Tensor plain = changed({}, image, {0});
  const at::Tensor shift =
      (changed({.brightness = 0.5}, many(image), first_rows(kMany)) - plain).flatten(1).mean(1);
  EXPECT_NEAR(shift.max().item<double>(), 0.5, 0.01);
  EXPECT_NEAR(shift.min().item<double>(), -0.5, 0.01);
  EXPECT_NEAR(shift.mean().item<double>(), 0.0, 4.0 * 0.5 / std::sqrt(3.0 * kMany));

  const at::Tensor contrasted = changed({.contrast = 0.25}, many(image), first_rows(kMany));
  const at::Tensor ratio = contrasted.flatten(1).std(1) / plain.std();
  EXPECT_NEAR(ratio.max().item<double>(), 1.25, 0.01);
  EXPECT_NEAR(ratio.min().item<double>(), 0.75, 0.01);
  EXPECT_LE((contrasted.flatten(1).mean(1) - plain.mean()).abs().max().item<double>(), 1e-5);

  const at::Tensor noise = changed({.noise = 0.3}, many(image), first_rows(kMany)) - plain;
  const double values = static_cast<double>(noise.numel());
  EXPECT_NEAR(noise.std().item<double>(), 0.3, 4.0 * 0.3 / std::sqrt(2.0 * values));
  EXPECT_NEAR(noise.mean().item<double>(), 0.0, 4.0 * 0.3 / std::sqrt(values));
}

TEST(TrainingView, ErasesARectangleOfTheStatedArea) {
  const at::Tensor image = distinct_images(1, 2, 40, 50) + 1000.0;
  const at::Tensor views = changed({.erase = 0.4}, many(image), first_rows(kMany));
  const at::Tensor zero = views.eq(0).all(1);  // [B, H, W]
  const at::Tensor area = zero.flatten(1).sum(1).to(at::kDouble) / 2000.0;
  const at::Tensor erased = area.gt(0);
  EXPECT_NEAR(erased.to(at::kDouble).mean().item<double>(), 0.4, 4.0 * std::sqrt(0.24 / kMany));
  EXPECT_GE(area.masked_select(erased).min().item<double>(), 0.018);
  EXPECT_LE(area.max().item<double>(), 0.21);
  const at::Tensor box = zero.any(1).sum(1) * zero.any(2).sum(1);
  EXPECT_TRUE(at::equal(box, zero.flatten(1).sum(1)));
}

TEST(TrainingView, RefusesToTurnImagesThatAreNotSquare) {
  EXPECT_THROW(
      augment::training_view({.rotate90 = true}, description_of(1, 8, 9), Normalisation::dataset, 1, 0),
      UsageError);
  EXPECT_NO_THROW(
      augment::training_view({.flip_vertical = true}, description_of(1, 8, 9), Normalisation::dataset, 1, 0));
}

}  // namespace
}  // namespace cohort
