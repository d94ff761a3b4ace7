// What operations of tables draw: every value equally often, and no view, image, epoch, operation or
// repetition that tells of another.
#include <cmath>
#include <cstring>
#include <numbers>

#include <gtest/gtest.h>

#include "cohort/augment/multi_crop.h"
#include "cohort/core/random.h"

#include "../support/even.h"
#include "augment/operations.h"
#include "augment/rand_augment.h"

namespace cohort::augment {
namespace {

using testing::Counts;
using testing::expect_as_likely;
using testing::expect_even;
using testing::part_of;

class TableDraws : public ::testing::Test {
 protected:
  static constexpr std::int64_t kSide = 12, kImages = 4000;

  /// Of two views of 8-bit RGB images.
  static std::unique_ptr<data::ViewMaker> maker(std::vector<std::string> operations, std::int64_t epoch = 0) {
    data::Description description;
    description.images = {data::PixelType::u8, 3, kSide, kSide};
    description.mean = description.deviation = {1.0, 1.0, 1.0};
    ViewConfig config;
    config.preset = "table";
    config.policy.global = std::move(operations);
    return training_views(config, description, Normalisation::dataset, 5, epoch, 2);
  }

  static std::vector<Step> steps_of(const data::ViewMaker& maker, std::int64_t row, std::size_t view = 0) {
    std::vector<std::byte> recipe(static_cast<std::size_t>(maker.recipe_bytes()));
    maker.draw(row, recipe);
    const std::byte* from = recipe.data() + view * (recipe.size() - 16) / 2;  // behind: orders of 3 channels
    std::vector<Step> steps(static_cast<std::size_t>(recipe_at<std::int64_t>(from)));
    for (std::size_t i = 0; i < steps.size(); ++i)
      steps[i] = recipe_at<Step>(from + sizeof(std::int64_t) + i * sizeof(Step));
    return steps;
  }

  template <class Kind>
  static std::int64_t count_of(const std::vector<Step>& steps) {
    return std::count_if(steps.begin(), steps.end(),
                         [](const Step& step) { return std::holds_alternative<Kind>(step); });
  }
};

TEST_F(TableDraws, FlipsAndTurnsAreEvenAndOnTheirOwn) {
  Counts alone({2, 2, 4}), views({8, 8}), images({8, 8}), epochs({8, 8}), repeated({3});
  const std::vector<std::string> table{"flip", "flip_vertical", "turn"};
  const auto now = maker(table), later = maker(table, 1), twice = maker({"flip", "flip", "turn"});
  const auto state = [](const std::vector<Step>& steps) {
    std::int64_t turns = 0;
    for (const Step& step : steps) {
      if (const auto* turn = std::get_if<step::QuarterTurns>(&step)) turns = turn->count;
    }
    return count_of<step::Mirror>(steps) * 4 + turns;
  };
  for (std::int64_t row = 0; row < kImages; ++row) {
    const auto steps = steps_of(*now, row);
    alone.add(count_of<step::Mirror>(steps), count_of<step::UpsideDown>(steps), state(steps) % 4);
    views.add(state(steps), state(steps_of(*now, row, 1)));
    images.add(state(steps), state(steps_of(*now, row + 1)));
    epochs.add(state(steps), state(steps_of(*later, row)));
    repeated.add(count_of<step::Mirror>(steps_of(*twice, row)));
  }
  for (const Counts& counts : {alone, views, images, epochs}) expect_even(counts);
  expect_as_likely(repeated.cells(), {0.25, 0.5, 0.25});
}

TEST_F(TableDraws, AffinePartsAreUniformAndIndependent) {
  Counts parts({4, 3, 3, 3});
  const auto views = maker({"affine degrees=90 translate=0.125 scale=[0.5,1.5]"});
  for (std::int64_t row = 0; row < kImages; ++row) {
    const auto warp = std::get<step::Warp>(steps_of(*views, row).at(0));
    const double scale = 1.0 / std::hypot(warp.from.xx, warp.from.yx);
    const double angle = std::atan2(warp.from.xy, warp.from.xx);
    // Where the view's centre goes to: -1, 0 or 1 pixels of the largest shift, 1.5.
    const data::Point middle = warp.from.inverse()({kSide / 2.0, kSide / 2.0});
    parts.add(part_of(angle, -std::numbers::pi / 2, std::numbers::pi / 2, 4), part_of(scale, 0.5, 1.5, 3),
              std::lround(middle.x - kSide / 2.0) + 1, std::lround(middle.y - kSide / 2.0) + 1);
  }
  expect_even(parts);
}

/// 0 … 13, as RandAugmentChange.
std::int64_t change_of(const std::vector<Step>& steps) {
  using enum RandAugmentChange;
  if (steps.empty()) return 0;
  for (const RandAugmentChange change :
       {shear_x, shear_y, translate_x, translate_y, rotate, brightness, saturation, contrast, sharpness,
        posterise, solarise, autocontrast, equalise}) {
    for (const bool negative : {false, true}) {
      const Step likely = *rand_augment_step(change, 9, negative, {12, 12});
      if (likely.index() != steps[0].index()) continue;
      if (std::memcmp(&likely, &steps[0], sizeof(Step)) == 0) return static_cast<std::int64_t>(change);
      const auto *mine = std::get_if<step::Warp>(&steps[0]), *its = std::get_if<step::Warp>(&likely);
      if (mine != nullptr && std::memcmp(&mine->from, &its->from, sizeof(its->from)) == 0)
        return static_cast<std::int64_t>(change);
      const auto *colour = std::get_if<step::Colour>(&steps[0]), *other = std::get_if<step::Colour>(&likely);
      if (colour != nullptr && colour->change == other->change) return static_cast<std::int64_t>(change);
    }
  }
  ADD_FAILURE() << "no change of RandAugment";
  return 0;
}

TEST_F(TableDraws, EveryChangeOfRandAugmentIsEquallyLikelyToEitherSide) {
  Counts changes({14}), views({14, 14}), brighter({2}), repeated({14, 14});
  const auto once = maker({"rand_augment count=1"});
  for (std::int64_t row = 0; row < kImages; ++row) {
    const auto steps = steps_of(*once, row);
    changes.add(change_of(steps));
    views.add(change_of(steps), change_of(steps_of(*once, row, 1)));
    const auto* colour = steps.empty() ? nullptr : std::get_if<step::Colour>(&steps[0]);
    if (colour != nullptr && colour->change == step::Colour::Change::brightness)
      brighter.add(colour->amount > 1.0F);
  }
  for (const Counts& counts : {changes, views, brighter}) expect_even(counts);
  // Two changes, where neither is the identity.
  const auto twice = maker({"rand_augment"});
  for (std::int64_t row = 0; row < kImages; ++row) {
    const auto steps = steps_of(*twice, row);
    if (steps.size() == 2) repeated.add(change_of({steps[0]}), change_of({steps[1]}));
  }
  std::vector<std::int64_t> pairs;
  for (std::size_t i = 0; i < repeated.cells().size(); ++i) {
    if (i >= 14 && i % 14 != 0) pairs.push_back(repeated.cells()[i]);
  }
  expect_as_likely(pairs, std::vector<double>(pairs.size(), 1.0 / 169));
}

TEST_F(TableDraws, ErasedPartsReachEveryPlace) {
  Counts places({7, 7}), happens({2});
  const auto fixed = maker({"erase area=[0.25,0.25] aspect=[1,1]"}),
             any = maker({"erase probability=1 area=[0.1,0.5] aspect=[0.5,2]"});
  for (std::int64_t row = 0; row < kImages; ++row) {
    const auto steps = steps_of(*fixed, row);
    happens.add(steps.size());
    if (!steps.empty()) {
      const Rectangle part = std::get<step::Erase>(steps[0]).part;
      EXPECT_EQ(part.height, 6);
      places.add(part.top, part.left);
    }
    for (const Step& step : steps_of(*any, row)) {
      const Rectangle part = std::get<step::Erase>(step).part;
      EXPECT_LE(part.top + part.height, kSide);
      EXPECT_LE(part.left + part.width, kSide);
      EXPECT_GE(part.height * part.width, 0.1 * kSide * kSide - 8);
      EXPECT_LE(part.height * part.width, 0.5 * kSide * kSide + 8);
    }
  }
  expect_even(places);
  expect_even(happens);
}

TEST_F(TableDraws, NoiseIsAnotherForEveryViewImageEpochAndRepetition) {
  Counts deviations({8, 8}), views({2, 2}), images({2, 2}), epochs({2, 2}), repeated({2, 2}),
      decision({2, 4});
  const std::vector<std::string> table{"noise probability=1 deviation=[0.5,1]",
                                       "noise probability=1 deviation=[0.5,1]"};
  const auto now = maker(table), later = maker(table, 1);
  const auto first_sign = [](const std::vector<Step>& steps, std::size_t of) {
    return RandomStream(std::get<step::Noise>(steps.at(of)).key).uniform() < 0.5F;
  };
  const auto deviation = [](const Step& step) { return std::get<step::Noise>(step).deviation; };
  for (std::int64_t row = 0; row < kImages; ++row) {
    const auto steps = steps_of(*now, row);
    deviations.add(part_of(deviation(steps[0]), 0.5, 1, 8), part_of(deviation(steps[1]), 0.5, 1, 8));
    views.add(first_sign(steps, 0), first_sign(steps_of(*now, row, 1), 0));
    images.add(first_sign(steps, 0), first_sign(steps_of(*now, row + 1), 0));
    epochs.add(first_sign(steps, 0), first_sign(steps_of(*later, row), 0));
    repeated.add(first_sign(steps, 0), first_sign(steps, 1));
    decision.add(first_sign(steps, 0), part_of(deviation(steps[0]), 0.5, 1, 4));
  }
  for (const Counts& counts : {deviations, views, images, epochs, repeated, decision}) expect_even(counts);
}

TEST_F(TableDraws, StainsAreScaledAndShiftedEachOnItsOwn) {
  Counts scales({4, 4, 4}), shifts({4, 4, 4}), together({6, 6}), views({6, 6});
  const auto made = maker({"stain_jitter scale=0.2 shift=0.1"});
  for (std::int64_t row = 0; row < kImages; ++row) {
    const auto stain = std::get<step::Stain>(steps_of(*made, row).at(0)),
               other = std::get<step::Stain>(steps_of(*made, row, 1).at(0));
    const auto scale = [&](std::size_t i, std::int64_t parts) {
      return part_of(static_cast<double>(stain.scale.at(i)), 0.8, 1.2, parts);
    };
    const auto shift = [&](std::size_t i, std::int64_t parts) {
      return part_of(static_cast<double>(stain.shift.at(i)), -0.1, 0.1, parts);
    };
    scales.add(scale(0, 4), scale(1, 4), scale(2, 4));
    shifts.add(shift(0, 4), shift(1, 4), shift(2, 4));
    together.add(scale(0, 6), shift(0, 6));
    views.add(scale(0, 6), part_of(static_cast<double>(other.scale[0]), 0.8, 1.2, 6));
  }
  for (const Counts& counts : {scales, shifts, together, views}) expect_even(counts);
}

/// Streams of all views, decisions and repetitions differ, those of presets and of all other operations.
TEST(DecisionKeys, AreAllDifferent) {
  std::vector<std::uint32_t> layers;
  for (std::int64_t view = 0; view < 66; ++view) {
    for (std::uint32_t decision = 1; decision <= static_cast<std::uint32_t>(Decision::stain); ++decision) {
      for (std::uint32_t repeated = 0; repeated < 64; ++repeated) {
        layers.push_back(
            ViewDraws{.view = view, .repeated = repeated}.key(static_cast<Decision>(decision)).layer);
      }
    }
  }
  std::sort(layers.begin(), layers.end());
  EXPECT_EQ(std::adjacent_find(layers.begin(), layers.end()), layers.end());
}

}  // namespace
}  // namespace cohort::augment
