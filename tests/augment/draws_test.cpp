// What views draw at random: every position up to both edges and every value equally often, and no view,
// image, epoch or decision that tells of another.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <numbers>
#include <numeric>

#include <gtest/gtest.h>

#include "cohort/augment/multi_crop.h"
#include "cohort/augment/views.h"
#include "cohort/core/random.h"

#include "../support/even.h"
#include "augment/crop_box.h"
#include "augment/recipe.h"
#include "preset_of.h"

namespace cohort::augment {
namespace {

using testing::Counts;
using testing::expect_as_likely;
using testing::expect_even;
using testing::part_of;

data::Description square_images(std::int64_t channels, std::int64_t side) {
  data::Description description;
  description.images = {data::PixelType::u8, channels, side, side};
  description.mean.assign(static_cast<std::size_t>(channels), 0.0);
  description.deviation.assign(static_cast<std::size_t>(channels), 1.0);
  return description;
}

template <class Recipe>
std::vector<Recipe> recipes_of(const data::ViewMaker& maker, std::int64_t row) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(maker.recipe_bytes()));
  maker.draw(row, bytes);
  std::vector<Recipe> recipes(maker.shapes().size());
  std::memcpy(recipes.data(), bytes.data(), recipes.size() * sizeof(Recipe));
  return recipes;
}

/// Of the places from 0 to `room` that a part of an image may have, by the room that it leaves.
class OffsetCounts {
 public:
  void add(std::int64_t offset, std::int64_t room) {
    ASSERT_LE(offset, room);
    by_room_.try_emplace(room, std::vector{room + 1}).first->second.add(offset);
  }
  void expect_even_offsets() const {
    int judged = 0;
    for (const auto& [room, counts] : by_room_) {
      const auto& cells = counts.cells();
      if (std::accumulate(cells.begin(), cells.end(), std::int64_t{0}) < 20 * (room + 1) || room == 0)
        continue;
      expect_even(counts);
      ++judged;
    }
    EXPECT_GE(judged, 3);
  }

 private:
  std::map<std::int64_t, Counts> by_room_;
};

TEST(CropDraws, EveryOffsetUpToBothEdgesIsEquallyLikely) {
  OffsetCounts tops, lefts;
  Counts corners({4, 4});
  for (std::int64_t i = 0; i < 20000; ++i) {
    const Box box = random_crop(10, 14, 0.3, 0.9, RandomStream(RandomKey{.seed = 8, .sample = i}));
    const std::int64_t top = std::lround(box.top), left = std::lround(box.left),
                       down = 10 - std::lround(box.height), right = 14 - std::lround(box.width);
    tops.add(top, down);
    lefts.add(left, right);
    if (down % 4 == 3 && right % 4 == 3) corners.add(top * 4 / (down + 1), left * 4 / (right + 1));
  }
  tops.expect_even_offsets();
  lefts.expect_even_offsets();
  expect_even(corners);
}

constexpr std::int64_t kRows = 6000;

class WholeDraws : public ::testing::Test {
 protected:
  WholeRecipe recipe(std::int64_t row, std::int64_t epoch = 0, std::uint64_t seed = 9) const {
    const auto maker = training_view(config_, square_images(1, 12), Normalisation::dataset, seed, epoch);
    return recipes_of<WholeRecipe>(*maker, row).front();
  }

  AugmentConfig config_{.flip_horizontal = true,
                        .flip_vertical = true,
                        .rotate90 = true,
                        .crop_scale_min = 0.25,
                        .brightness = 0.5,
                        .contrast = 0.4,
                        .erase = 0.5};
};

TEST_F(WholeDraws, EveryDecisionIsEvenAndOnItsOwn) {
  Counts turns({2, 2, 4}), crops({4, 4, 4}), light({6, 6}), erases({2, 2}), crop_and_light({4, 4});
  for (std::int64_t row = 0; row < kRows; ++row) {
    const WholeRecipe drawn = recipe(row);
    turns.add(drawn.mirrored, drawn.upside_down, drawn.quarter_turns);
    const double area = drawn.box.height * drawn.box.width / 144, room = 12 - drawn.box.height;
    const std::int64_t top = part_of(drawn.box.top, 0, room, 4),
                       left = part_of(drawn.box.left, 0, 12 - drawn.box.width, 4);
    crops.add(part_of(area, 0.25, 1, 4), top, left);
    const auto contrast = static_cast<double>(drawn.contrast),
               brightness = static_cast<double>(drawn.brightness);
    light.add(part_of(contrast, 0.6, 1.4, 6), part_of(brightness, -0.5, 0.5, 6));
    erases.add(drawn.erases, drawn.mirrored);
    crop_and_light.add(top, part_of(contrast, 0.6, 1.4, 4));
  }
  for (const Counts& counts : {turns, crops, light, erases, crop_and_light}) expect_even(counts);
}

TEST_F(WholeDraws, ImagesEpochsAndSeedsAreIndependent) {
  Counts images({16, 16}), epochs({16, 16}), seeds({16, 16});
  const auto turn = [](const WholeRecipe& drawn) {
    return drawn.quarter_turns * 4 + (drawn.mirrored ? 2 : 0) + (drawn.upside_down ? 1 : 0);
  };
  for (std::int64_t row = 0; row < kRows; ++row) {
    const auto mine = turn(recipe(row));
    images.add(mine, turn(recipe(row + 1)));
    epochs.add(mine, turn(recipe(row, 1)));
    seeds.add(mine, turn(recipe(row, 0, 10)));
  }
  for (const Counts& counts : {images, epochs, seeds}) expect_even(counts);
}

TEST_F(WholeDraws, WhatIsErasedReachesEveryEdge) {
  OffsetCounts tops, lefts;
  for (std::int64_t row = 0; row < kRows; ++row) {
    const WholeRecipe drawn = recipe(row);
    if (!drawn.erases) continue;
    tops.add(drawn.erased.top, 12 - drawn.erased.height);
    lefts.add(drawn.erased.left, 12 - drawn.erased.width);
  }
  tops.expect_even_offsets();
  lefts.expect_even_offsets();
}

class ColourDraws : public ::testing::Test {
 protected:
  static std::vector<ColourRecipe> recipes(std::int64_t row, std::int64_t epoch = 0) {
    const auto maker = training_views(preset_of("camelyon_dino", {.local_crops = 2}), square_images(3, 48),
                                      Normalisation::dataset, 5, epoch);
    return recipes_of<ColourRecipe>(*maker, row);
  }
};

TEST_F(ColourDraws, ViewsImagesAndEpochsAreIndependent) {
  Counts flips({2, 2, 2, 2}), images({2, 2}), epochs({2, 2});
  Counts crops({2, 2, 2, 2});
  const auto is_low = [](const ColourRecipe& drawn) { return 2 * drawn.box.top > 48 - drawn.box.height; };
  for (std::int64_t row = 0; row < 3000; ++row) {
    const auto views = recipes(row);
    flips.add(views[0].mirrored, views[1].mirrored, views[2].mirrored, views[3].mirrored);
    images.add(views[0].mirrored, recipes(row + 1)[0].mirrored);
    epochs.add(views[0].mirrored, recipes(row, 1)[0].mirrored);
    const bool in_the_middle = std::any_of(views.begin(), views.end(), [](const ColourRecipe& drawn) {
      return 2 * drawn.box.top == 48 - drawn.box.height;
    });
    if (!in_the_middle) crops.add(is_low(views[0]), is_low(views[1]), is_low(views[2]), is_low(views[3]));
  }
  for (const Counts& counts : {flips, images, epochs, crops}) expect_even(counts);
}

TEST_F(ColourDraws, ProbabilitiesAreThoseOfEachViewAndIndependent) {
  Counts gray_jitter_flip({2, 2, 2}), solarised({2}), blur_of_second({2}), blur_of_third({2}), radius({8});
  std::int64_t blurred_first = 0, solarised_others = 0;
  constexpr std::int64_t kImages = 4000;
  for (std::int64_t row = 0; row < kImages; ++row) {
    const auto views = recipes(row);
    for (const ColourRecipe& drawn : views) gray_jitter_flip.add(drawn.gray, drawn.jitters, drawn.mirrored);
    solarised.add(views[1].solarises);
    solarised_others += (views[0].solarises || views[2].solarises || views[3].solarises) ? 1 : 0;
    blurred_first += views[0].blur_radius > 0 ? 1 : 0;
    blur_of_second.add(views[1].blur_radius > 0);
    blur_of_third.add(views[2].blur_radius > 0);
    radius.add(part_of(views[0].blur_radius, 0.1, 2.0, 8));
  }
  expect_as_likely(gray_jitter_flip.cells(), {0.08, 0.08, 0.32, 0.32, 0.02, 0.02, 0.08, 0.08});
  expect_as_likely(solarised.cells(), {0.8, 0.2});
  expect_as_likely(blur_of_second.cells(), {0.9, 0.1});
  expect_even(blur_of_third);
  expect_even(radius);
  EXPECT_EQ(blurred_first, kImages);
  EXPECT_EQ(solarised_others, 0);
}

TEST_F(ColourDraws, FactorsAreUniformAndEveryOrderIsEquallyLikely) {
  Counts factors({4, 4, 4, 4}), orders({4, 4, 4, 4});
  std::vector<double> probabilities;
  for (std::int64_t row = 0; row < 4000; ++row) {
    for (const ColourRecipe& drawn : recipes(row)) {
      if (!drawn.jitters) continue;
      factors.add(part_of(static_cast<double>(drawn.brightness), 0.6, 1.4, 4),
                  part_of(static_cast<double>(drawn.contrast), 0.6, 1.4, 4),
                  part_of(static_cast<double>(drawn.saturation), 0.8, 1.2, 4),
                  part_of(static_cast<double>(drawn.hue), -0.1, 0.1, 4));
      orders.add(drawn.order[0], drawn.order[1], drawn.order[2], drawn.order[3]);
    }
  }
  expect_even(factors);
  std::vector<std::int64_t> met;
  for (const std::int64_t count : orders.cells()) {
    if (count > 0) met.push_back(count);
  }
  ASSERT_EQ(met.size(), 24U);
  expect_as_likely(met, std::vector<double>(24, 1.0 / 24));
}

class CellDraws : public ::testing::Test {
 protected:
  static constexpr std::int64_t kSide = 250;  // padded to 256 and 320

  static std::unique_ptr<data::ViewMaker> maker(std::int64_t epoch = 0) {
    return training_views(preset_of("cell_dino", {.global_size = 250, .local_size = 310, .local_crops = 2}),
                          square_images(2, kSide), Normalisation::dataset, 5, epoch);
  }
};

// The image lies anywhere in 256 pixels, at 0 … 6, and the crop anywhere, at 0 … 6: their difference. Local
// crops are from the middle, 5, and the image lies at 0 … 70.
TEST_F(CellDraws, ImagesAndCropsReachEveryPlace) {
  Counts global_top({13}), global_left({13}), local_top({71}), local_left({71});
  std::vector<double> triangle;
  for (int distance = -6; distance <= 6; ++distance) triangle.push_back((7 - std::abs(distance)) / 49.0);
  const auto views = maker();
  for (std::int64_t row = 0; row < 5000; ++row) {
    const auto drawn = recipes_of<CellRecipe>(*views, row);
    global_top.add(drawn[0].top + 6);
    global_left.add(drawn[1].left + 6);
    local_top.add(5 - drawn[2].top);
    local_left.add(5 - drawn[3].left);
  }
  expect_as_likely(global_top.cells(), triangle);
  expect_as_likely(global_left.cells(), triangle);
  expect_even(local_top);
  expect_even(local_left);
}

TEST_F(CellDraws, TurnsAnglesAndBlursHaveTheirProbabilities) {
  Counts turns({4}), two_views({2, 2}), two_epochs({2, 2}), angles({8}), defocus({6}), local_defocus({3});
  const auto views = maker(), later = maker(1);
  for (std::int64_t row = 0; row < 5000; ++row) {
    const auto drawn = recipes_of<CellRecipe>(*views, row), next = recipes_of<CellRecipe>(*later, row);
    turns.add(static_cast<std::int64_t>(drawn[0].turn));
    two_views.add(drawn[0].turn == Turn::none, drawn[1].turn == Turn::none);
    two_epochs.add(drawn[0].turn == Turn::none, next[0].turn == Turn::none);
    if (drawn[2].turn == Turn::rotate) {
      const double angle = std::atan2(drawn[2].sine, drawn[2].cosine);
      angles.add(part_of(angle, -std::numbers::pi, std::numbers::pi, 8));
    }
    defocus.add(drawn[1].defocus);
    local_defocus.add(drawn[2].defocus - 1);
  }
  expect_as_likely(turns.cells(), {0.5, 0.1, 0.1, 0.3});
  expect_even(two_views);
  expect_even(two_epochs);
  // Up to 90, 180 and 270 degrees to either side; the last begin anew behind 180.
  const double near = 11 / 72.0, far = 7 / 72.0;
  expect_as_likely(angles.cells(), {far, far, near, near, near, near, far, far});
  expect_as_likely(defocus.cells(), {0.5, 0.1, 0.1, 0.1, 0.1, 0.1});
  expect_even(local_defocus);
}

TEST_F(CellDraws, HolesHaveEveryNumberSizeAndPlace) {
  constexpr std::int64_t kCrop = 12;
  const auto views = training_views(preset_of("cell_dino", {.global_size = kCrop, .local_crops = 0}),
                                    square_images(1, 20), Normalisation::dataset, 5, 0);
  Counts numbers({10}), sizes({10, 10}), of_views({2, 2});
  OffsetCounts tops, lefts;
  for (std::int64_t row = 0; row < 3000; ++row) {
    const auto drawn = recipes_of<CellRecipe>(*views, row);
    of_views.add(drawn[0].holes > 0, drawn[1].holes > 0);
    if (drawn[0].holes > 0) numbers.add(drawn[0].holes - 1);
    for (std::int32_t i = 0; i < drawn[0].holes; ++i) {
      const Rectangle& hole = drawn[0].hole[i];
      sizes.add(hole.height - 1, hole.width - 1);
      tops.add(hole.top, kCrop - hole.height);
      lefts.add(hole.left, kCrop - hole.width);
    }
  }
  for (const Counts& counts : {numbers, sizes, of_views}) expect_even(counts);
  tops.expect_even_offsets();
  lefts.expect_even_offsets();
}

TEST(ChannelDraws, EveryOrderIsEquallyLikelyForEveryImageAndEpoch) {
  const auto order = [](std::int64_t row, std::int64_t epoch) {
    const auto maker = training_views(preset_of("cell_dino", {.local_crops = 1, .shuffle_channels = true}),
                                      square_images(3, 8), Normalisation::dataset, 5, epoch);
    std::vector<std::byte> bytes(static_cast<std::size_t>(maker->recipe_bytes()));
    maker->draw(row, bytes);
    std::array<std::int32_t, 3> channels{};
    std::memcpy(channels.data(), bytes.data() + 3 * sizeof(CellRecipe), sizeof(channels));
    return channels[0] * 2 + (channels[1] > channels[2] ? 1 : 0);
  };
  Counts rows({6, 6}), epochs({6, 6});
  for (std::int64_t row = 0; row < 2500; ++row) {
    rows.add(order(row, 0), order(row + 1, 0));
    epochs.add(order(row, 0), order(row, 1));
  }
  expect_even(rows);
  expect_even(epochs);
}

}  // namespace
}  // namespace cohort::augment
