// Views of volumes: where each operation moves voxels and their masks, what it draws, and what is refused.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <set>

#include <gtest/gtest.h>

#include "cohort/augment/device_views.h"
#include "cohort/augment/multi_crop.h"
#include "cohort/augment/several_views.h"
#include "cohort/core/error.h"
#include "cohort/data/targets.h"

#include "view_tables.h"

namespace cohort::augment {
namespace {

constexpr std::int64_t kDepth = 9, kHeight = 12, kWidth = 14, kVoxels = kDepth * kHeight * kWidth;

data::Description volumes_of(std::int64_t channels, bool has_mask = true) {
  data::Description description;
  description.images = {data::PixelType::f32, channels, kHeight, kWidth, kDepth};
  description.mean.assign(static_cast<std::size_t>(channels), 0.0);
  description.deviation.assign(static_cast<std::size_t>(channels), 1.0);
  if (has_mask)
    description.fields = {{"organs", data::FieldKind::mask, data::ValueType::u8, {kDepth, kHeight, kWidth}}};
  return description;
}

/// Three channels: the numbers of column, row and slice.
std::vector<float> ramps() {
  std::vector<float> values;
  for (std::int64_t c = 0; c < 3; ++c) {
    for (std::int64_t i = 0; i < kVoxels; ++i) {
      const std::int64_t z = i / (kHeight * kWidth), y = i / kWidth % kHeight, x = i % kWidth;
      values.push_back(static_cast<float>(c == 0 ? x : c == 1 ? y : z));
    }
  }
  return values;
}

/// u8: 1 in a block of 2 x 3 x 2 voxels, 0 elsewhere, the last slice not known.
std::vector<std::byte> block() {
  std::vector<std::byte> mask(kVoxels, std::byte{0});
  for (std::int64_t z = 3; z < 5; ++z) {
    for (std::int64_t y = 5; y < 8; ++y) {
      for (std::int64_t x = 7; x < 9; ++x)
        mask[static_cast<std::size_t>((z * kHeight + y) * kWidth + x)] = std::byte{1};
    }
  }
  std::fill(mask.end() - kHeight * kWidth, mask.end(), std::byte{255});
  return mask;
}

/// One view: value of ramp `channel` at (z, y, x).
struct Viewed {
  const std::vector<float>& values;
  data::ViewShape shape;
  [[nodiscard]] double operator()(std::int64_t channel, std::int64_t z, std::int64_t y,
                                  std::int64_t x) const {
    const std::int64_t at = ((channel * shape.depth + z) * shape.height + y) * shape.width + x;
    return static_cast<double>(values[static_cast<std::size_t>(at)]);
  }
};

void visit_voxels(const data::ViewShape& shape,
                  const std::function<void(std::int64_t z, std::int64_t y, std::int64_t x)>& visit) {
  for (std::int64_t z = 0; z < shape.depth; ++z) {
    for (std::int64_t y = 0; y < shape.height; ++y) {
      for (std::int64_t x = 0; x < shape.width; ++x) visit(z, y, x);
    }
  }
}

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

std::string refusal(const ViewConfig& config, const data::Description& description) {
  return refusal([&] { (void)testing::views_of(config, description); });
}

// ---- Places ----

struct MovedVolume {
  std::string name;
  std::vector<std::string> operations;
  std::int64_t size;  ///< 0: of the volume
  double tolerance;   ///< of a voxel, beside the nearest one
};

class MovedVolumes : public ::testing::TestWithParam<MovedVolume> {};

TEST_P(MovedVolumes, MoveAsTheMaskOfTheSameRampDoes) {
  const MovedVolume& tested = GetParam();
  const auto maker = testing::views_of(testing::table(tested.operations, tested.size), volumes_of(3), 2);
  const std::vector<float> stored = ramps();
  const std::vector<std::int32_t> labels(stored.begin(), stored.end());
  const std::vector<std::byte> mask = block();
  std::int64_t compared = 0, wrong = 0, moved = 0;
  for (std::int64_t row = 0; row < 40; ++row) {
    const data::ViewKey key(row, mask);
    const auto views = testing::made(*maker, stored, key);
    const auto recipe = testing::recipe_of(*maker, key);
    for (std::size_t v = 0; v < views.size(); ++v) {
      const data::ViewShape shape = maker->shapes()[v];
      const auto voxels = static_cast<std::size_t>(shape.values() / 3);
      for (std::size_t c = 0; c < 3; ++c) {
        std::vector<std::int32_t> view(voxels);
        data::move_volume_mask<std::int32_t>(
            {std::span(labels).subspan(c * kVoxels, kVoxels), kDepth, kHeight, kWidth},
            maker->geometry(recipe, v), -1, {view, shape.depth, shape.height, shape.width});
        for (std::size_t i = 0; i < voxels; ++i) {
          if (view[i] < 0) continue;
          wrong +=
              std::abs(static_cast<double>(views[v][c * voxels + i]) - view[i]) <= tested.tolerance ? 0 : 1;
          moved += c > 0 || view[i] == static_cast<std::int32_t>(i % static_cast<std::size_t>(shape.width))
                       ? 0
                       : 1;
          ++compared;
        }
      }
    }
  }
  EXPECT_EQ(wrong, 0) << "of " << compared;
  EXPECT_GT(compared, 5000);
  const bool moves_columns = tested.name != "flip_depth" && tested.name != "flip_vertical";
  EXPECT_GE(moved, moves_columns ? compared / 12 : 0);
}

INSTANTIATE_TEST_SUITE_P(
    Operations, MovedVolumes,
    ::testing::Values(
        MovedVolume{"flip", {"flip"}, 0, 0.0}, MovedVolume{"flip_vertical", {"flip_vertical"}, 0, 0.0},
        MovedVolume{"flip_depth", {"flip_depth"}, 0, 0.0}, MovedVolume{"crop", {"volume_crop"}, 6, 0.0},
        MovedVolume{"larger", {"volume_crop"}, 17, 0.0},
        MovedVolume{"axial", {"axial_affine degrees=30 scale=[0.8,1.3]"}, 0, 0.5 + 1e-4},
        MovedVolume{"all",
                    {"volume_crop", "flip", "flip_vertical", "flip_depth", "axial_affine degrees=15", "flip"},
                    7,
                    0.5 + 1e-4}),
    [](const auto& tested) { return tested.param.name; });

TEST(Volumes, FlipsMirrorOneAxisInHalfOfTheViews) {
  const std::vector<float> stored = ramps();
  const std::vector<std::string> names{"flip", "flip_vertical", "flip_depth"};
  const std::array<std::int64_t, 3> sizes{kWidth, kHeight, kDepth};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto maker = testing::views_of(testing::table({names[axis]}), volumes_of(3));
    std::int64_t mirrored = 0;
    for (std::int64_t row = 0; row < 200; ++row) {
      const auto views = testing::made(*maker, stored, row);
      const Viewed view{views[0], maker->shapes()[0]};
      const bool is_mirrored = view(static_cast<std::int64_t>(axis), 0, 0, 0) != 0;
      mirrored += is_mirrored ? 1 : 0;
      std::int64_t wrong = 0;
      visit_voxels(view.shape, [&](std::int64_t z, std::int64_t y, std::int64_t x) {
        std::array<std::int64_t, 3> from{x, y, z};
        if (is_mirrored) from.at(axis) = sizes.at(axis) - 1 - from.at(axis);
        for (std::int64_t c = 0; c < 3; ++c)
          wrong += view(c, z, y, x) == static_cast<double>(from.at(static_cast<std::size_t>(c))) ? 0 : 1;
      });
      ASSERT_EQ(wrong, 0) << names[axis] << ", row " << row;
    }
    EXPECT_NEAR(static_cast<double>(mirrored), 100, 30) << names[axis];
  }
}

TEST(Volumes, CropsAreWholeVoxelsInsideOfTheVolume) {
  const auto maker = testing::views_of(testing::table({"volume_crop foreground=0"}, 6), volumes_of(3, false));
  ASSERT_EQ(maker->shapes()[0].sizes(), (std::vector<std::int64_t>{3, 6, 6, 6}));
  EXPECT_EQ(maker->guide(), "");
  std::set<std::vector<double>> corners;
  for (std::int64_t row = 0; row < 300; ++row) {
    const auto views = testing::made(*maker, ramps(), row);
    const Viewed view{views[0], maker->shapes()[0]};
    const std::array<double, 3> corner{view(0, 0, 0, 0), view(1, 0, 0, 0), view(2, 0, 0, 0)};
    visit_voxels(view.shape, [&](std::int64_t z, std::int64_t y, std::int64_t x) {
      ASSERT_EQ(view(0, z, y, x), corner[0] + static_cast<double>(x));
      ASSERT_EQ(view(1, z, y, x), corner[1] + static_cast<double>(y));
      ASSERT_EQ(view(2, z, y, x), corner[2] + static_cast<double>(z));
    });
    EXPECT_LE(corner[0], kWidth - 6);
    EXPECT_LE(corner[1], kHeight - 6);
    EXPECT_LE(corner[2], kDepth - 6);
    corners.insert({corner.begin(), corner.end()});
  }
  EXPECT_GT(corners.size(), 100U);
}

/// The voxel in the middle of a crop of 4 is the one that was chosen, unless a border is near.
TEST(Volumes, CropsLieAroundForegroundAsOftenAsAskedFor) {
  const std::vector<std::byte> mask = block();
  const auto around = [&](const std::string& operation, std::span<const std::byte> marks) {
    const auto maker = testing::views_of(testing::table({operation}, 4), volumes_of(3));
    EXPECT_EQ(maker->guide(), "organs");
    std::int64_t inside = 0;
    for (std::int64_t row = 0; row < 400; ++row) {
      const auto views = testing::made(*maker, ramps(), {row, marks});
      const Viewed view{views[0], maker->shapes()[0]};
      const double x = view(0, 2, 2, 2), y = view(1, 2, 2, 2), z = view(2, 2, 2, 2);
      inside += 7 <= x && x < 9 && 5 <= y && y < 8 && 3 <= z && z < 5 ? 1 : 0;
    }
    return static_cast<double>(inside) / 400;
  };
  EXPECT_EQ(around("volume_crop foreground=1", mask), 1.0);
  EXPECT_NEAR(around("volume_crop", mask), 0.5, 0.1);
  EXPECT_NEAR(around("volume_crop foreground=0.2", mask), 0.2, 0.08);
  const std::vector<std::byte> none(kVoxels, std::byte{0}), unknown(kVoxels, std::byte{255});
  EXPECT_LT(around("volume_crop foreground=1", none), 0.1) << "around the background";
  EXPECT_LT(around("volume_crop foreground=1", unknown), 0.1) << "anywhere";
}

/// All but one voxel are foreground.
TEST(Volumes, CropsOfAnywhereHeedNoMaskThatOthersNeed) {
  std::vector<std::byte> mask(kVoxels, std::byte{1});
  mask[(4 * kHeight + 6) * kWidth + 8] = std::byte{0};
  ViewConfig config = testing::table({"volume_crop foreground=1"}, 4);
  config.policy.local = {"volume_crop foreground=0"};
  config.multi_crop.local_size = 4;
  config.multi_crop.local_crops = 1;
  const auto maker = testing::views_of(config, volumes_of(3));
  ASSERT_EQ(maker->shapes().size(), 2U);
  std::int64_t around_it = 0;
  for (std::int64_t row = 0; row < 200; ++row) {
    const auto views = testing::made(*maker, ramps(), {row, mask});
    const Viewed local{views[1], maker->shapes()[1]};
    around_it += local(0, 2, 2, 2) == 8 && local(1, 2, 2, 2) == 6 && local(2, 2, 2, 2) == 4 ? 1 : 0;
  }
  EXPECT_LT(around_it, 20);
}

TEST(Volumes, ViewsOfSeveralMakersKnowTheMaskThatOneNeeds) {
  std::vector<std::unique_ptr<data::ViewMaker>> makers;
  makers.push_back(testing::views_of(testing::table({"volume_crop foreground=0"}, 4), volumes_of(3)));
  makers.push_back(testing::views_of(testing::table({"volume_crop foreground=1"}, 4), volumes_of(3)));

  EXPECT_EQ(several_views(std::move(makers))->guide(), "organs");
}

/// A mask of half the size covers the volume.
TEST(Volumes, MasksOfAnotherSizeMarkTheSamePlaces) {
  data::Description description = volumes_of(3);
  description.fields[0].shape = {3, 6, 7};
  description.fields[0].type = data::ValueType::i32;
  std::vector<std::int32_t> mask(3 * 6 * 7, 0);
  mask[(1 * 6 + 2) * 7 + 4] = 5;  // slices 3 … 5, rows 4 and 5, columns 8 and 9
  const auto maker = testing::views_of(testing::table({"volume_crop foreground=1"}, 4), description);
  for (std::int64_t row = 0; row < 20; ++row) {
    const auto views = testing::made(*maker, ramps(), {row, std::as_bytes(std::span(mask))});
    const Viewed view{views[0], maker->shapes()[0]};
    EXPECT_EQ(view(2, 2, 2, 2), 4);
    EXPECT_EQ(view(1, 2, 2, 2), 5);
    EXPECT_EQ(view(0, 2, 2, 2), 9);
  }
}

TEST(Volumes, AxialRotationsAreRigidAndLeaveSlicesInPlace) {
  const auto maker = testing::views_of(testing::table({"axial_affine degrees=20"}), volumes_of(3));
  double largest = 0;
  for (std::int64_t row = 0; row < 100; ++row) {
    const auto views = testing::made(*maker, ramps(), row);
    const Viewed view{views[0], maker->shapes()[0]};
    const double xx = view(0, 4, 6, 7) - view(0, 4, 6, 6), yx = view(1, 4, 6, 7) - view(1, 4, 6, 6),
                 xy = view(0, 4, 6, 6) - view(0, 4, 5, 6), yy = view(1, 4, 6, 6) - view(1, 4, 5, 6);
    EXPECT_NEAR(xx * xx + yx * yx, 1, 1e-4);
    EXPECT_NEAR(xx * yy - xy * yx, 1, 1e-4);
    EXPECT_NEAR(xx * xy + yx * yy, 0, 1e-4);
    const double degrees = std::atan2(yx, xx) * 180 / std::acos(-1.0);
    EXPECT_LE(std::abs(degrees), 20.001);
    largest = std::max(largest, std::abs(degrees));
    for (std::int64_t z = 0; z < kDepth; ++z) EXPECT_EQ(view(2, z, 6, 6), static_cast<double>(z));
  }
  EXPECT_GT(largest, 15);
}

TEST(Volumes, ScaleEnlargesEveryAxisAboutTheMiddle) {
  const auto maker = testing::views_of(testing::table({"axial_affine scale=[1.25,1.25]"}), volumes_of(3));
  const auto views = testing::made(*maker, ramps(), 0);
  const Viewed view{views[0], maker->shapes()[0]};
  EXPECT_EQ(view(2, 4, 0, 0), 4) << "the middle slice";
  EXPECT_NEAR(view(2, 5, 0, 0) - view(2, 4, 0, 0), 0.8, 1e-5);
  EXPECT_NEAR(view(0, 4, 6, 7), 6.5 + 0.5 * 0.8, 1e-5);
  EXPECT_NEAR(view(1, 4, 6, 7), 5.5 + 0.5 * 0.8, 1e-5);
}

// ---- Values ----

TEST(Volumes, WindowsClipAndIntensitiesAreScaledAndShifted) {
  data::Description description = volumes_of(3);
  description.mean = {2, 3, 4};
  description.deviation = {1, 2, 4};
  const std::vector<float> stored = ramps();
  const auto value_of = [&](const std::string& operation, std::int64_t row) {
    const auto maker = testing::views_of(testing::table({operation}), description);
    std::vector<float> values = testing::made(*maker, stored, row)[0];
    for (std::size_t i = 0; i < values.size(); ++i)  // as stored
      values[i] = static_cast<float>(static_cast<double>(values[i]) * description.deviation[i / kVoxels] +
                                     description.mean[i / kVoxels]);
    return values;
  };
  const std::vector<float> window = value_of("window range=[3,6]", 0);
  for (std::size_t i = 0; i < window.size(); ++i)
    ASSERT_NEAR(window[i], std::clamp(stored[i], 3.0F, 6.0F), 1e-5F);
  std::int64_t scaled = 0, shifted = 0;
  for (std::int64_t row = 0; row < 60; ++row) {
    const std::vector<float> scale = value_of("scale_intensity largest=0.2", row),
                             shift = value_of("shift_intensity largest=0.3", row);
    const double factor = (static_cast<double>(scale[kVoxels - 1]) - 2) / (kWidth - 1 - 2),
                 deviations = static_cast<double>(shift[0]);
    for (std::size_t i = 0; i < stored.size(); i += 17) {
      const auto value = static_cast<double>(stored[i]);
      const double mean = description.mean[i / kVoxels], deviation = description.deviation[i / kVoxels];
      ASSERT_NEAR(static_cast<double>(scale[i]), mean + factor * (value - mean), 1e-4);
      ASSERT_NEAR(static_cast<double>(shift[i]), value + deviations * deviation, 1e-4);
    }
    EXPECT_LE(std::abs(factor - 1), 0.2 + 1e-5);
    EXPECT_LE(std::abs(deviations), 0.3 + 1e-5);
    scaled += std::abs(factor - 1) > 1e-5 ? 1 : 0;
    shifted += std::abs(deviations) > 1e-5 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(scaled), 30, 14);
  EXPECT_NEAR(static_cast<double>(shifted), 30, 14);
}

TEST(Volumes, EvaluationAndThePresetWholeOnlyNormalise) {
  data::Description description = volumes_of(3);
  description.mean = {2, 3, 4};
  description.deviation = {1, 2, 4};
  const auto evaluation = evaluation_view(description, Normalisation::dataset);
  const auto whole = training_views(ViewConfig{}, description, Normalisation::dataset, 3, 0, 1);
  const std::vector<float> stored = ramps();
  for (const data::ViewMaker* maker : {evaluation.get(), whole.get()}) {
    ASSERT_EQ(maker->shapes()[0].sizes(), (std::vector<std::int64_t>{3, kDepth, kHeight, kWidth}));
    const std::vector<float> view = testing::made(*maker, stored, 5)[0];
    for (std::size_t i = 0; i < stored.size(); ++i) {
      const double expected = (static_cast<double>(stored[i]) - description.mean[i / kVoxels]) /
                              description.deviation[i / kVoxels];
      ASSERT_NEAR(static_cast<double>(view[i]), expected, 1e-5);
    }
  }
}

// ---- Draws ----

TEST(Volumes, DrawsDependOnSeedEpochRowAndViewAlone) {
  const std::vector<std::byte> mask = block();
  const auto views = [&](std::vector<std::string> operations, std::int64_t epoch, std::int64_t row) {
    return testing::made(
        *testing::views_of(testing::table(std::move(operations), 6), volumes_of(3), 2, epoch), ramps(),
        {row, mask});
  };
  const auto once = views({"volume_crop"}, 0, 4);
  EXPECT_EQ(views({"volume_crop"}, 0, 4), once);
  EXPECT_EQ(views({"volume_crop", "flip probability=0", "scale_intensity probability=0"}, 0, 4), once);
  EXPECT_NE(once[0], once[1]);
  EXPECT_NE(views({"volume_crop"}, 1, 4), once);
  EXPECT_NE(views({"volume_crop"}, 0, 5), once);
}

// ---- Refusals ----

TEST(Volumes, WhatTheyCannotHaveIsRefused) {
  const data::Description volumes = volumes_of(3);
  data::Description images = volumes;
  images.images.depth = 1;
  images.fields.clear();
  const auto expect = [](const std::string& found, const std::string& wanted) {
    EXPECT_NE(found.find(wanted), std::string::npos) << found;
  };
  expect(refusal(testing::table({"crop"}, 6), volumes),
         "'crop' takes images, those of the dataset are volumes of depth 9");
  expect(refusal(testing::table({"volume_crop"}, 6), images),
         "'volume_crop' takes volumes, the dataset has images");
  expect(refusal(testing::table({"flip_depth"}), images),
         "'flip_depth' takes volumes, the dataset has images");
  expect(refusal(testing::table({"volume_crop"}, 6), volumes_of(3, false)),
         "'volume_crop' lies around what a mask marks, and the dataset has no masks");
  expect(refusal(testing::table({"flip"}, 6), volumes),
         "views of 6 x 6 x 6 pixels are to be made of images of 9 x 12");
  expect(refusal(testing::table({"window range=[3]"}), volumes), "which is not a lowest and a highest value");
  expect(refusal(testing::table({"window"}), volumes), "which is not a lowest and a highest value");
  ViewConfig whole;
  whole.whole.flip_horizontal = true;
  expect(refusal(whole, volumes),
         "the preset whole changes images, those of the dataset are volumes of depth 9");
  ViewConfig built_in;
  built_in.preset = "cell_dino";
  expect(refusal(built_in, volumes), "'pad_crop' takes images");
  expect(
      refusal([&] { DeviceViews(testing::table({"flip"}), volumes, Normalisation::dataset, at::kCPU, 1); }),
      "a view of a volume is not made on devices");
  expect(refusal([&] { DeviceViews(ViewConfig{}, volumes, Normalisation::dataset, at::kCPU, 1); }),
         "a view of a volume is not made on devices");
}

}  // namespace
}  // namespace cohort::augment
