// Annotations move as the pixels do: a mask whose labels are the pixels of a ramp, boxes beside the bounding
// boxes of their moved masks, points beside both.
#include "cohort/data/targets.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "cohort/augment/multi_crop.h"
#include "cohort/augment/several_views.h"
#include "cohort/core/random.h"

#include "augment/recipe.h"
#include "augment/view_geometry.h"
#include "preset_of.h"

namespace cohort::augment {
namespace {

using data::Affine;
using data::Point;
using data::ViewGeometry;

/// f32 images whose values stay as they are.
data::Description plain_images(data::PixelType type, std::int64_t channels, std::int64_t height,
                               std::int64_t width) {
  data::Description description;
  description.images = {type, channels, height, width};
  description.mean.assign(static_cast<std::size_t>(channels), 0.0);
  description.deviation.assign(static_cast<std::size_t>(channels), 1.0);
  return description;
}

std::vector<std::byte> drawn(const data::ViewMaker& maker, std::int64_t row) {
  std::vector<std::byte> recipe(static_cast<std::size_t>(maker.recipe_bytes()));
  maker.draw(row, recipe);
  return recipe;
}

/// [height, width]: the number of each pixel's column, or row.
std::vector<std::int32_t> numbers_of(std::int64_t height, std::int64_t width, bool of_columns) {
  std::vector<std::int32_t> values;
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) values.push_back(static_cast<std::int32_t>(of_columns ? x : y));
  }
  return values;
}

constexpr std::int32_t kOutside = -1;

std::vector<std::int32_t> moved_mask(const std::vector<std::int32_t>& mask, Sides image,
                                     const ViewGeometry& geometry, Sides view) {
  std::vector<std::int32_t> moved(static_cast<std::size_t>(view.height * view.width));
  move_mask<std::int32_t>({mask, image.height, image.width}, geometry, kOutside,
                          {moved, view.height, view.width});
  return moved;
}

/// Views of an f32 image with the ramps of columns and rows as its channels, beside its moved mask; but for
/// `border` pixels at the edges of a view. Counts the pixels that were compared.
std::int64_t compare_ramps(const data::ViewMaker& maker, Sides image, std::int64_t row, double tolerance,
                           std::int64_t border) {
  std::vector<float> stored;
  for (const bool of_columns : {true, false}) {
    const auto values = numbers_of(image.height, image.width, of_columns);
    stored.insert(stored.end(), values.begin(), values.end());
  }
  std::vector<std::vector<float>> views;
  for (const data::ViewShape& shape : maker.shapes())
    views.emplace_back(static_cast<std::size_t>(shape.values()));
  maker.make(std::as_bytes(std::span(stored)), row,
             std::vector<std::span<float>>(views.begin(), views.end()));
  const std::vector<std::byte> recipe = drawn(maker, row);
  std::int64_t compared = 0;
  for (std::size_t v = 0; v < views.size(); ++v) {
    const data::ViewShape shape = maker.shapes()[v];
    const Sides size{shape.height, shape.width};
    const ViewGeometry geometry = maker.geometry(recipe, v);
    for (const bool of_columns : {true, false}) {
      const auto mask = moved_mask(numbers_of(image.height, image.width, of_columns), image, geometry, size);
      for (std::size_t i = 0; i < mask.size(); ++i) {
        const float value = views[v][i + (of_columns ? 0 : mask.size())];
        const std::int64_t y = static_cast<std::int64_t>(i) / size.width,
                           x = static_cast<std::int64_t>(i) % size.width;
        const bool is_inside = std::min({x, y, size.width - 1 - x, size.height - 1 - y}) >= border;
        if (mask[i] == kOutside || !is_inside) continue;
        EXPECT_LE(std::abs(static_cast<double>(value) - mask[i]), tolerance)
            << "row " << row << " view " << v << " pixel " << i;
        ++compared;
      }
    }
  }
  return compared;
}

TEST(MovedMask, OfTheWholeImageIsWhatFlipsAndTurnsMakeOfThePixels) {
  const auto maker =
      training_view({.flip_horizontal = true, .flip_vertical = true, .rotate90 = true},
                    plain_images(data::PixelType::f32, 2, 12, 12), Normalisation::dataset, 3, 0);
  for (std::int64_t row = 0; row < 40; ++row)
    EXPECT_EQ(compare_ramps(*maker, {12, 12}, row, 0.0, 0), 2 * 12 * 12);
}

TEST(MovedMask, OfRandomCropsIsTheNearestPixel) {
  const auto maker =
      training_view({.flip_horizontal = true, .flip_vertical = true, .crop_scale_min = 0.2},
                    plain_images(data::PixelType::f32, 2, 19, 33), Normalisation::dataset, 3, 0);
  for (std::int64_t row = 0; row < 40; ++row)
    EXPECT_EQ(compare_ramps(*maker, {19, 33}, row, 0.5 + 1e-4, 0), 2 * 19 * 33);
}

TEST(MovedMask, OfEvaluationIsTheMask) {
  const auto maker = evaluation_view(plain_images(data::PixelType::f32, 2, 9, 14), Normalisation::dataset);
  EXPECT_EQ(compare_ramps(*maker, {9, 14}, 0, 0.0, 0), 2 * 9 * 14);
}

TEST(MovedMask, OfSeveralViewsIsThatOfEach) {
  std::vector<std::unique_ptr<data::ViewMaker>> makers;
  for (const std::int64_t epoch : {0, 1, 2}) {
    makers.push_back(training_view({.flip_horizontal = true, .rotate90 = true},
                                   plain_images(data::PixelType::f32, 2, 10, 10), Normalisation::dataset, 3,
                                   epoch));
  }
  const auto maker = several_views(std::move(makers));
  for (std::int64_t row = 0; row < 20; ++row)
    EXPECT_EQ(compare_ramps(*maker, {10, 10}, row, 0.0, 0), 3 * 2 * 10 * 10);
}

/// With the recipe of `maker`, the pixels that are not blurred, and have no hole.
TEST(MovedMask, OfCellCropsIsWherePixelsWereTurnedTo) {
  constexpr Sides kImage{300, 280};
  const auto maker = training_views(
      preset_of("cell_dino", {.global_size = 64, .local_size = 40, .local_crops = 2}),
      plain_images(data::PixelType::f32, 2, kImage.height, kImage.width), Normalisation::dataset, 3, 0);
  std::int64_t compared = 0, rows = 0;
  for (std::int64_t row = 0; row < 400; ++row) {
    const std::vector<std::byte> recipe = drawn(*maker, row);
    bool plain = true;
    for (std::size_t v = 0; v < 4; ++v) {
      const auto view = recipe_at<CellRecipe>(recipe.data() + v * sizeof(CellRecipe));
      // A disc leaves a ramp as it is, but for mirrored borders.
      plain = plain && view.holes == 0 && (view.defocus == 0 || (view.turn != Turn::rotate && v >= 2));
    }
    if (!plain) continue;
    ++rows;
    compared += compare_ramps(*maker, kImage, row, 0.5 + 1e-3, 5);
  }
  EXPECT_GT(rows, 5);
  EXPECT_GT(compared, rows * 2 * 2 * 45 * 45);
}

/// What a test of one operation starts from: an image of 23 x 31.
constexpr Sides kSmall{23, 31};

TEST(MovedMask, IsOutsideWhereAViewShowsPaddingOrAMirroredBorder) {
  CellRecipe recipe;
  recipe.top = -3;
  recipe.left = 20;
  const Sides view{32, 32};
  const auto labels = numbers_of(kSmall.height, kSmall.width, true);
  auto mask = moved_mask(labels, kSmall, geometry_of(recipe, kSmall, view), view);
  for (std::int64_t y = 0; y < view.height; ++y) {
    for (std::int64_t x = 0; x < view.width; ++x) {
      const bool inside = y >= 3 && y < 3 + kSmall.height && x < kSmall.width - 20;
      EXPECT_EQ(mask[static_cast<std::size_t>(y * view.width + x)],
                inside ? static_cast<std::int32_t>(x + 20) : kOutside);
    }
  }
  recipe.top = recipe.left = 4;
  recipe.turn = Turn::rotate;
  recipe.cosine = recipe.sine = std::sqrt(0.5);
  const Sides part{10, 10};
  mask = moved_mask(labels, kSmall, geometry_of(recipe, kSmall, part), part);
  EXPECT_EQ(mask.front(), kOutside) << "a corner of a turned view shows a mirrored border";
  EXPECT_EQ(mask.back(), kOutside);
  EXPECT_NE(mask[55], kOutside);
}

/// A geometry of random steps: crops, mirror images, turns, rotations and shears.
ViewGeometry random_geometry(RandomStream& random, Sides image, Sides view) {
  const auto real = [&](double low, double high) { return random.uniform(low, high); };
  const double height = static_cast<double>(image.height), width = static_cast<double>(image.width);
  const Box box{real(-0.2, 0.6) * height, real(-0.2, 0.6) * width, real(0.3, 1.0) * height,
                real(0.3, 1.0) * width};
  ViewGeometry geometry = after_step(geometry_of_image(image.height, image.width),
                                     resized_box(box, view.height, view.width), view.height, view.width);
  const auto then = [&](const Affine& step) {
    geometry = after_step(geometry, step, view.height, view.width);
  };
  if (random.below(2) == 0) then(mirrored_view(view.width));
  if (random.below(2) == 0) then(upside_down_view(view.height));
  if (random.below(2) == 0)
    then(quarter_turned_view(static_cast<std::int32_t>(random.below(4)), view.height, view.width));
  for (int again = 0; again < 2; ++again) {
    if (random.below(2) == 0) continue;
    const double angle = real(-3.0, 3.0);
    then(rotated_view(std::cos(angle), std::sin(angle), view.height, view.width));
    then({real(0.8, 1.2), real(-0.2, 0.2), real(-3, 3), 0, 1, real(-3, 3)});
  }
  return geometry;
}

struct MaskBox {
  double left = std::numeric_limits<double>::max(), top = left, right = -left, bottom = -left;
  std::int64_t pixels = 0;
};

MaskBox box_of(const std::vector<std::int32_t>& mask, Sides view) {
  MaskBox box;
  for (std::int64_t y = 0; y < view.height; ++y) {
    for (std::int64_t x = 0; x < view.width; ++x) {
      if (mask[static_cast<std::size_t>(y * view.width + x)] != 1) continue;
      const auto left = static_cast<double>(x), top = static_cast<double>(y);
      box = {std::min(box.left, left), std::min(box.top, top), std::max(box.right, left + 1),
             std::max(box.bottom, top + 1), box.pixels + 1};
    }
  }
  return box;
}

double area_of_box(std::span<const float> box) {
  return (static_cast<double>(box[2]) - static_cast<double>(box[0])) *
         (static_cast<double>(box[3]) - static_cast<double>(box[1]));
}

TEST(MovedBoxes, AreTheBoundingBoxesOfTheirMovedMasks) {
  constexpr Sides kImage{60, 80}, kView{64, 64};
  RandomStream random({.seed = 4, .purpose = Purpose::synthetic});
  std::int64_t shown = 0, lost = 0;
  double missing = 0.0;
  for (int recipe = 0; recipe < 10000; ++recipe) {
    const ViewGeometry geometry = random_geometry(random, kImage, kView);
    const std::int64_t left = static_cast<std::int64_t>(random.below(60)),
                       top = static_cast<std::int64_t>(random.below(40)),
                       width = 8 + static_cast<std::int64_t>(random.below(12)),
                       height = 8 + static_cast<std::int64_t>(random.below(12));
    std::vector<std::int32_t> labels(static_cast<std::size_t>(kImage.height * kImage.width), 0);
    for (std::int64_t y = top; y < top + height; ++y)
      std::fill_n(labels.begin() + y * kImage.width + left, width, 1);
    const MaskBox mask = box_of(moved_mask(labels, kImage, geometry, kView), kView);
    const std::vector<float> stored{static_cast<float>(left), static_cast<float>(top),
                                    static_cast<float>(left + width), static_cast<float>(top + height), 7.0F};

    const std::vector<float> moved = move_boxes(stored, geometry, 0.0);

    if (mask.pixels == 0) {
      EXPECT_TRUE(move_boxes(stored, geometry, 0.2).empty())
          << "more than a sliver between pixels, " << recipe;
      ++lost;
      continue;
    }
    ++shown;
    ASSERT_EQ(moved.size(), 5U) << recipe;
    EXPECT_EQ(moved[4], 7.0F);
    // No pixel's centre lies outside.
    const auto edge = [&](int i) { return static_cast<double>(moved[static_cast<std::size_t>(i)]); };
    EXPECT_LE(edge(0), mask.left + 0.5 + 1e-4) << recipe;
    EXPECT_LE(edge(1), mask.top + 0.5 + 1e-4) << recipe;
    EXPECT_GE(edge(2), mask.right - 0.5 - 1e-4) << recipe;
    EXPECT_GE(edge(3), mask.bottom - 0.5 - 1e-4) << recipe;
    missing +=
        (mask.left - edge(0)) + (mask.top - edge(1)) + (edge(2) - mask.right) + (edge(3) - mask.bottom);
    EXPECT_GE(area_of_box(moved) + 1e-3,
              static_cast<double>(mask.pixels) - 2 * (edge(2) - edge(0) + edge(3) - edge(1)));
  }
  EXPECT_GT(shown, 5000);
  EXPECT_GT(lost, 200);
  // Upright edges lie within half a pixel, as likely on either side; a corner that points outwards is longer
  // than its pixels.
  EXPECT_LT(missing / static_cast<double>(shown) / 4, 0.5);
}

/// Without rotations, where there are no corners that point outwards, no edge is further away than half a
/// pixel.
TEST(MovedBoxes, OfUprightViewsAreWithinHalfAPixelOfTheirMasks) {
  constexpr Sides kImage{48, 48};
  const auto maker =
      training_view({.flip_horizontal = true, .flip_vertical = true, .rotate90 = true, .crop_scale_min = 0.3},
                    plain_images(data::PixelType::u8, 1, 48, 48), Normalisation::dataset, 3, 0);
  for (std::int64_t row = 0; row < 2000; ++row) {
    const ViewGeometry geometry = maker->geometry(drawn(*maker, row), 0);
    std::vector<std::int32_t> labels(48 * 48, 0);
    const std::int64_t left = row % 30, top = row % 23;
    for (std::int64_t y = top; y < top + 15; ++y) std::fill_n(labels.begin() + y * 48 + left, 17, 1);
    const MaskBox mask = box_of(moved_mask(labels, kImage, geometry, kImage), kImage);
    const std::vector<float> moved =
        move_boxes(std::vector<float>{static_cast<float>(left), static_cast<float>(top),
                                      static_cast<float>(left + 17), static_cast<float>(top + 15), 1.0F},
                   geometry, 0.0);
    if (mask.pixels == 0) continue;
    ASSERT_EQ(moved.size(), 5U);
    EXPECT_NEAR(moved[0], mask.left, 0.5 + 1e-4);
    EXPECT_NEAR(moved[1], mask.top, 0.5 + 1e-4);
    EXPECT_NEAR(moved[2], mask.right, 0.5 + 1e-4);
    EXPECT_NEAR(moved[3], mask.bottom, 0.5 + 1e-4);
  }
}

TEST(MovedBoxes, AreLeftOutBelowTheLeastPart) {
  WholeRecipe recipe;
  recipe.crops = true;
  recipe.box = {0, 10, 20, 10};  // the right half of an image of 20 x 20
  const ViewGeometry geometry = geometry_of(recipe, {20, 20});
  const std::vector<float> boxes{8,  4, 12, 8,  1,  // half of it is seen
                                 9,  4, 13, 8,  2,  // three quarters
                                 0,  0, 10, 10, 3,  // nothing
                                 12, 5, 12, 9,  4,  // no area
                                 10, 0, 20, 20, 5};
  EXPECT_EQ(move_boxes(boxes, geometry, 0.6), (std::vector<float>{0, 4, 6, 8, 2, 0, 0, 20, 20, 5}));
  EXPECT_EQ(move_boxes(boxes, geometry, 0.5).size(), 15U);
  EXPECT_TRUE(move_boxes({}, geometry, 0.5).empty());
}

TEST(MovedPoints, GoWhereThePixelsGo) {
  WholeRecipe recipe;
  recipe.mirrored = true;
  const ViewGeometry mirrored = geometry_of(recipe, {20, 30});
  EXPECT_EQ(move_points(std::vector<float>{0.5F, 3.5F, 1, 29.5F, 0.5F, 2}, mirrored),
            (std::vector<float>{29.5F, 3.5F, 1, 0.5F, 0.5F, 2}));
  recipe.crops = true;
  recipe.box = {0, 0, 10, 15};  // a quarter, after mirroring: x from 15 on
  EXPECT_EQ(move_points(std::vector<float>{20, 5, 1, 10, 5, 2, 20, 11, 3}, geometry_of(recipe, {20, 30})),
            (std::vector<float>{20, 10, 1}));
}

TEST(ViewGeometries, GoThereAndBack) {
  const Affine affine{0.5, -2, 3, 1.5, 0.25, -7};
  const Point there = affine({3, 4}), back = affine.inverse()(there);
  EXPECT_NEAR(back.x, 3, 1e-12);
  EXPECT_NEAR(back.y, 4, 1e-12);
  const Point twice = (affine * affine)({1, 2}), one_by_one = affine(affine({1, 2}));
  EXPECT_NEAR(twice.x, one_by_one.x, 1e-12);
  EXPECT_NEAR(twice.y, one_by_one.y, 1e-12);
}

}  // namespace
}  // namespace cohort::augment
