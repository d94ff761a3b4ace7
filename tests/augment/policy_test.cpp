// Tables of operations: what each does to pixels, where it moves them, what it draws, and what is refused.
#include "cohort/augment/policy.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "cohort/augment/device_views.h"
#include "cohort/augment/multi_crop.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/targets.h"

#include "augment/colour.h"
#include "augment/planes.h"
#include "augment/rand_augment.h"
#include "view_tables.h"

namespace cohort::augment {
namespace {

data::Description images_of(data::PixelType type, std::int64_t channels, std::int64_t height,
                            std::int64_t width) {
  data::Description description;
  description.images = {type, channels, height, width};
  description.mean.assign(static_cast<std::size_t>(channels), 0.0);
  description.deviation.assign(static_cast<std::size_t>(channels), 1.0);
  return description;
}

std::string refusal(const ViewConfig& config, const data::Description& description) {
  try {
    (void)testing::views_of(config, description);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

// ---- Where operations move pixels ----

struct Moved {
  std::string name;
  std::vector<std::string> operations;
  std::int64_t size;    ///< 0: of the image, 26 x 26
  double tolerance;     ///< of a pixel, beside the nearest one
  std::int64_t border;  ///< pixels that borders of filters may change
};

class MovedRamps : public ::testing::TestWithParam<Moved> {};

/// The views of an image whose two channels are the numbers of column and row, beside its moved mask.
TEST_P(MovedRamps, MoveAsTheMaskOfTheSameRampDoes) {
  constexpr std::int64_t kSide = 26;
  const Moved& tested = GetParam();
  const auto maker = testing::views_of(testing::table(tested.operations, tested.size),
                                       images_of(data::PixelType::f32, 2, kSide, kSide), 2);
  std::vector<float> stored;
  std::vector<std::int32_t> labels;
  for (std::int64_t c = 0; c < 2; ++c) {
    for (std::int64_t i = 0; i < kSide * kSide; ++i) {
      labels.push_back(static_cast<std::int32_t>(c == 0 ? i % kSide : i / kSide));
      stored.push_back(static_cast<float>(labels.back()));
    }
  }
  std::int64_t compared = 0, wrong = 0, moved = 0;
  for (std::int64_t row = 0; row < 60; ++row) {
    const auto views = testing::made(*maker, std::as_bytes(std::span(stored)), row);
    const auto recipe = testing::recipe_of(*maker, row);
    for (std::size_t v = 0; v < views.size(); ++v) {
      const data::ViewShape shape = maker->shapes()[v];
      const data::ViewGeometry geometry = maker->geometry(recipe, v);
      const std::int64_t pixels = shape.height * shape.width;
      for (std::int64_t c = 0; c < 2; ++c) {
        std::vector<std::int32_t> mask(static_cast<std::size_t>(pixels));
        const auto plane =
            std::span(labels).subspan(static_cast<std::size_t>(c * kSide * kSide), kSide * kSide);
        move_mask<std::int32_t>({plane, kSide, kSide}, geometry, -1, {mask, shape.height, shape.width});
        for (std::int64_t i = 0; i < pixels; ++i) {
          const std::int64_t y = i / shape.width, x = i % shape.width;
          const std::int32_t label = mask[static_cast<std::size_t>(i)];
          const bool is_inside = std::min({x, y, shape.width - 1 - x, shape.height - 1 - y}) >= tested.border;
          if (label < tested.border || label >= kSide - tested.border || !is_inside) continue;
          const auto value = static_cast<double>(views[v][static_cast<std::size_t>(c * pixels + i)]);
          wrong += std::abs(value - label) <= tested.tolerance ? 0 : 1;
          moved += label == (c == 0 ? x : y) ? 0 : 1;
          ++compared;
        }
      }
    }
  }
  EXPECT_EQ(wrong, 0) << "of " << compared;
  EXPECT_GT(compared, 5000);
  EXPECT_GT(moved, compared / 8) << "of " << compared;
}

INSTANTIATE_TEST_SUITE_P(
    Operations, MovedRamps,
    ::testing::Values(
        Moved{"flip", {"flip"}, 0, 0.0, 0}, Moved{"flip_vertical", {"flip_vertical"}, 0, 0.0, 0},
        Moved{"flips_twice", {"flip", "flip", "flip_vertical"}, 0, 0.0, 0},
        Moved{"turn", {"turn"}, 0, 0.0, 0}, Moved{"pad_crop", {"pad_crop least=30"}, 20, 0.0, 0},
        Moved{"crop_nearest", {"crop interpolation=nearest"}, 17, 1e-6, 0},
        Moved{"crop_bilinear", {"crop area=[0.3,1] interpolation=bilinear"}, 17, 0.5 + 1e-4, 2},
        Moved{"crop_bicubic", {"crop area=[0.3,1]"}, 17, 0.5 + 1e-4, 3},
        Moved{"crop_area", {"crop area=[0.6,1] interpolation=area"}, 9, 1.0, 2},
        Moved{"resize", {"resize interpolation=bilinear"}, 40, 0.5 + 1e-4, 1},
        Moved{"rotate", {"flip_or_rotate probability=1"}, 0, 0.5 + 1e-4, 1},
        Moved{"affine", {"affine degrees=40 translate=0.2 scale=[0.8,1.3] shear=[15,10]"}, 0, 0.5 + 1e-4, 1},
        Moved{"affine_nearest", {"affine degrees=180 translate=0.1 interpolation=nearest"}, 0, 1e-6, 0},
        Moved{"all",
              {"crop area=[0.3,1] interpolation=nearest", "flip", "flip_vertical", "turn",
               "affine degrees=180 shear=[10,10] interpolation=nearest", "erase probability=0"},
              21,
              1.0 + 1e-4,
              0}),
    [](const auto& tested) { return tested.param.name; });

/// Of all geometric changes of RandAugment; its colours are left out by drawing them for gray levels that
/// they keep apart.
TEST(RandAugmentSteps, MoveMasksAsTheyMovePixels) {
  constexpr Sides kView{24, 30};
  Planes image(1, kView.height, kView.width);
  std::iota(image.values.begin(), image.values.end(), 0.0F);
  std::vector<std::int32_t> labels(image.values.begin(), image.values.end());
  data::Description description = images_of(data::PixelType::f32, 1, kView.height, kView.width);
  using enum RandAugmentChange;
  for (const RandAugmentChange change : {shear_x, shear_y, translate_x, translate_y, rotate}) {
    for (const bool negative : {false, true}) {
      const auto step = rand_augment_step(change, 17, negative, kView);
      ASSERT_TRUE(step);
      const std::vector<Step> steps{*step};
      const Planes view = made_by(steps, image, kView, description);
      std::vector<std::int32_t> mask(labels.size());
      move_mask<std::int32_t>({labels, kView.height, kView.width}, geometry_of(steps, kView, kView), -1,
                              {mask, kView.height, kView.width});
      std::int64_t outside = 0;
      for (std::size_t i = 0; i < mask.size(); ++i) {
        if (mask[i] == -1) {
          EXPECT_EQ(view.values[i], 0.0F);
          ++outside;
        } else {
          EXPECT_EQ(view.values[i], static_cast<float>(mask[i])) << static_cast<int>(change) << " " << i;
        }
      }
      EXPECT_GT(outside, 20);
      EXPECT_LT(outside, 500);
    }
  }
}

// ---- What operations do to values ----

TEST(PolicyViews, OfATableThatDoesNothingAreTheImage) {
  std::vector<std::uint8_t> image(2 * 7 * 9);
  std::iota(image.begin(), image.end(), std::uint8_t{3});
  const auto maker =
      testing::views_of(testing::table({"flip probability=0"}), images_of(data::PixelType::u8, 2, 7, 9), 2);
  for (const auto& view : testing::made(*maker, std::as_bytes(std::span(image)), 4))
    EXPECT_EQ(view, std::vector<float>(image.begin(), image.end()));
}

TEST(PolicyViews, DependOnSeedEpochAndRowAlone) {
  std::vector<std::uint8_t> image(3 * 40 * 40);
  RandomStream random({.seed = 1, .purpose = Purpose::synthetic});
  for (auto& value : image) value = static_cast<std::uint8_t>(random.below(256));
  const auto rgb = images_of(data::PixelType::u8, 3, 40, 40);
  const ViewConfig config = testing::table(
      {"crop", "flip", "affine degrees=20", "rand_augment", "stain_jitter", "noise", "erase", "noise"}, 32);
  const auto make = [&](std::int64_t epoch, std::int64_t row, std::int64_t count) {
    return testing::made(*testing::views_of(config, rgb, count, epoch), std::as_bytes(std::span(image)), row);
  };
  const auto views = make(0, 5, 2);
  EXPECT_EQ(make(0, 5, 2), views);
  EXPECT_EQ(make(0, 5, 1)[0], views[0]) << "a view does not depend on others";
  EXPECT_NE(make(1, 5, 2), views);
  EXPECT_NE(make(0, 6, 2), views);
  EXPECT_NE(views[0], views[1]);
}

TEST(PolicyViews, OfPresetsWrittenAsTablesAreThose) {
  std::vector<std::uint8_t> image(3 * 50 * 40);
  RandomStream random({.seed = 2, .purpose = Purpose::synthetic});
  for (auto& value : image) value = static_cast<std::uint8_t>(random.below(256));
  const auto rgb = images_of(data::PixelType::u8, 3, 50, 40);
  ViewConfig preset,
      written = testing::table({"crop area=[0.4,1] interpolation=bicubic", "flip probability=0.5",
                                "jitter probability=0.8 brightness=0.4 contrast=0.4 saturation=0.2 hue=0.1",
                                "gray probability=0.2", "blur probability=[1, 0.1] radius=[0.1, 2]",
                                "solarise probability=[0, 0.2] threshold=128"});
  preset.preset = "camelyon_dino";
  written.multi_crop = {.global_size = 96, .local_size = 32};
  written.policy.local = {"crop area=[0.05,0.4]", "flip", "jitter", "gray", "blur probability=0.5"};
  const auto one = testing::views_of(preset, rgb, 2), other = testing::views_of(written, rgb, 2);
  EXPECT_EQ(one->shapes(), other->shapes());
  for (std::int64_t row = 0; row < 6; ++row) {
    EXPECT_EQ(testing::made(*one, std::as_bytes(std::span(image)), row),
              testing::made(*other, std::as_bytes(std::span(image)), row));
    EXPECT_EQ(testing::recipe_of(*one, row), testing::recipe_of(*other, row));
  }
  EXPECT_NO_THROW(DeviceViews(written, rgb, Normalisation::dataset, at::kCPU)) << "the kernel has all of it";
}

TEST(PolicyViews, EraseByTheMeanAndAddNoiseOfTheDeviationOfTheDataset) {
  auto cells = images_of(data::PixelType::u16, 2, 60, 60);
  cells.mean = {300.0, 50.0};
  cells.deviation = {20.0, 5.0};
  std::vector<std::uint16_t> image(2 * 60 * 60, 400);
  const auto erased = testing::made(
      *testing::views_of(testing::table({"erase probability=1 area=[0.2,0.2] aspect=[0.5,2]"}), cells),
      std::as_bytes(std::span(image)), 7)[0];
  const auto zeros = std::count(erased.begin(), erased.end(), 0.0F);
  EXPECT_NEAR(static_cast<double>(zeros), 2 * 0.2 * 3600, 2 * 0.02 * 3600) << "the mean becomes 0";
  EXPECT_EQ(std::count(erased.begin(), erased.begin() + 3600, 5.0F) * 2, 7200 - zeros);

  const auto noisy =
      testing::made(*testing::views_of(testing::table({"noise probability=1 deviation=[0.5,0.5]"}), cells),
                    std::as_bytes(std::span(image)), 7)[0];
  for (std::size_t c = 0; c < 2; ++c) {
    double sum = 0.0, squares = 0.0;
    const double plain = c == 0 ? 5.0 : 70.0;
    for (std::size_t i = c * 3600; i < (c + 1) * 3600; ++i) {
      const double distance = static_cast<double>(noisy[i]) - plain;
      sum += distance;
      squares += distance * distance;
    }
    EXPECT_NEAR(sum / 3600, 0.0, 4 * 0.5 / 60.0);
    EXPECT_NEAR(std::sqrt(squares / 3600), 0.5, 4 * 0.5 / std::sqrt(7200.0));
  }
}

TEST(Operations, StainsThatDoNotChangeLeaveTheImage) {
  Planes image(3, 2, 2);
  image.values = {200, 10, 255, 77, 120, 30, 255, 78, 90, 250, 255, 79};
  const Planes before = image;
  change_stains(image, {1, 1, 1}, {0, 0, 0});
  for (std::size_t i = 0; i < image.values.size(); ++i) EXPECT_NEAR(image.values[i], before.values[i], 2e-3F);
}

/// By numbers of scikit-image's vectors: more haematoxylin multiplies each channel by 255^-(its density).
TEST(Operations, MoreOfAStainMultipliesByItsColour) {
  Planes image(3, 1, 1);
  image.values = {200, 100, 150};
  change_stains(image, {1, 1, 1}, {0.3F, 0, 0});
  EXPECT_NEAR(image.values[0], 200 * std::exp(-0.3 * 0.65), 0.01);
  EXPECT_NEAR(image.values[1], 100 * std::exp(-0.3 * 0.70), 0.01);
  EXPECT_NEAR(image.values[2], 150 * std::exp(-0.3 * 0.29), 0.01);
}

/// A colour that is eosin alone, of twice the density.
TEST(Operations, AStainIsScaledByItself) {
  Planes image(3, 1, 1);
  const std::array<double, 3> eosin{0.07, 0.99, 0.11};
  for (std::size_t c = 0; c < 3; ++c)
    image.values[c] = static_cast<float>(255 * std::exp(-0.4 * eosin.at(c)));
  change_stains(image, {5, 2, 7}, {0, 0, 0});
  for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(image.values[c], 255 * std::exp(-0.8 * eosin.at(c)), 0.05);
}

TEST(Operations, NearestAndAreaResizeAsTheirNamesSay) {
  Planes image(1, 4, 4);
  std::iota(image.values.begin(), image.values.end(), 0.0F);
  EXPECT_EQ(resized(image, {0, 0, 4, 4}, 2, 2, Filter::area, 0, 255).values,
            (std::vector<float>{2.5F, 4.5F, 10.5F, 12.5F}));
  EXPECT_EQ(resized(image, {0, 0, 4, 4}, 2, 2, Filter::nearest, 0, 255).values,
            (std::vector<float>{5, 7, 13, 15}));
  EXPECT_EQ(resized(image, {1, 1, 2, 2}, 4, 4, Filter::nearest, 0, 255).values[3], 6.0F);
}

// ---- Refusals ----

TEST(PolicyRefusals, SayWhatAndWhere) {
  const auto rgb = images_of(data::PixelType::u8, 3, 40, 50),
             gray = images_of(data::PixelType::u16, 1, 40, 40);
  const auto expect_has = [](const std::string& message, std::initializer_list<std::string> parts) {
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect_has(refusal(testing::table({"flip", "blurr"}), rgb),
             {"there is no operation 'blurr'", "augment.policy.global: 'blurr'", "did you mean 'blur'?"});
  expect_has(refusal(testing::table({"flip chance=1"}), rgb),
             {"unknown key 'chance'", "augment.policy.global: 'flip chance=1'", "probability"});
  expect_has(refusal(testing::table({"blur radius=[3,1]"}), rgb),
             {"radius is [3, 1], which is not a lowest and a highest value"});
  expect_has(refusal(testing::table({"flip probability=2"}), rgb), {"probability must be", "0 … 1"});
  expect_has(refusal(testing::table({"affine interpolation=bicubic"}), rgb),
             {"interpolation is neither nearest nor bilinear"});
  expect_has(refusal(testing::table({"flip"}, 32), rgb),
             {"no operation cuts them", "begin with crop, pad_crop or resize"});
  expect_has(refusal(testing::table({"crop", "flip", "crop"}, 32), rgb),
             {"'crop' is not the first operation"});
  expect_has(refusal(testing::table({"turn"}), rgb), {"'turn' needs square views, not 40 x 50"});
  expect_has(refusal(testing::table({"jitter"}), gray),
             {"'jitter' needs 8-bit RGB images, not 1 channels of type u16"});
  EXPECT_EQ(refusal(testing::table({"crop", "turn", "noise", "noise"}, 32), gray), "accepted");
  EXPECT_THROW(testing::views_of(testing::table(std::vector<std::string>(33, "flip")), gray), UsageError);
}

TEST(PolicyRefusals, OfOperationsThatDevicesDoNotHave) {
  const auto rgb = images_of(data::PixelType::u8, 3, 40, 40);
  const auto refused = [&](const ViewConfig& config) -> std::string {
    try {
      DeviceViews(config, rgb, Normalisation::dataset, at::kCPU, 1);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_NE(refused(testing::table({"crop", "flip", "noise"}, 32)).find("noise is not made on devices"),
            std::string::npos);
  EXPECT_NE(refused(testing::table({"crop interpolation=area"}, 32)).find("crop is not made"),
            std::string::npos);
  EXPECT_NE(refused(testing::table({"crop", "jitter", "flip"}, 32)).find("flip is not made"),
            std::string::npos)
      << "the kernel mirrors first";
  EXPECT_NE(refused(testing::table({"flip"})).find("flip is not made"), std::string::npos);
  EXPECT_EQ(refused(testing::table({"crop area=[0.2,1]", "flip", "gray"}, 32)), "accepted");
  EXPECT_EQ(refused(testing::table({"pad_crop least=50", "holes"}, 32)), "accepted");
}

TEST(OperationsOfTheManual, AreAllOfThem) {
  const std::string manual =
      read_file(std::filesystem::path(COHORT_TEST_DATA) / ".." / "docs" / "views.md", 1 << 20);
  for (const std::string& name : operation_names())
    EXPECT_NE(manual.find("| `" + name + "` |"), std::string::npos) << name;
}

}  // namespace
}  // namespace cohort::augment
