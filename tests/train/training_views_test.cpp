// The two views that DINO has of whole images are draws of their own; encoders take images alone.
#include "train/training_views.h"

#include <array>
#include <cstring>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/data/signature.h"
#include "cohort/train/model.h"

#include "augment/recipe.h"
#include "support/even.h"
#include "tiny_run.h"

namespace cohort::train {
namespace {

TEST(TrainingViews, TheTwoViewsOfAnImageAndThoseOfTheNextEpochAreIndependent) {
  RunConfig config = tiny_run("unused", "run");
  config.method.choose("dino");
  config.augment.whole.flip_vertical = true;
  const auto drawn = [&](std::int64_t row, std::int64_t epoch) {
    data::Description description = testing::tiny_description();
    description.mean = description.deviation = {1.0};
    const auto maker = training_views(config, description, epoch);
    std::vector<std::byte> bytes(static_cast<std::size_t>(maker->recipe_bytes()));
    maker->draw(row, bytes);
    std::array<std::int64_t, 2> views{};
    for (std::size_t v = 0; v < 2; ++v) {
      augment::WholeRecipe recipe;
      std::memcpy(&recipe, bytes.data() + v * bytes.size() / 2, sizeof(recipe));
      views.at(v) = (recipe.mirrored ? 2 : 0) + (recipe.upside_down ? 1 : 0);
    }
    return views;
  };
  testing::Counts views({4, 4}), later({4, 4}), rows({4, 4});
  for (std::int64_t row = 0; row < 1500; ++row) {
    const auto now = drawn(row, 3), next = drawn(row, 4), neighbour = drawn(row + 1, 3);
    views.add(now[0], now[1]);
    later.add(now[1], next[0]);
    rows.add(now[0], neighbour[0]);
  }
  for (const testing::Counts& counts : {views, later, rows}) testing::expect_even(counts);
}

TEST(EncoderInput, VolumesAreRefusedByTheEncodersName) {
  const RunConfig config = tiny_run("scans", "run");
  data::Description description = testing::tiny_description();
  EXPECT_NO_THROW((void)encoder_input(config, data::signature_of(description, "", {})));
  description.images.depth = 5;
  try {
    (void)encoder_input(config, data::signature_of(description, "", {}));
    ADD_FAILURE() << "volumes for an encoder of images";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().what,
              "encoder " + config.model.name + " takes images, those of the dataset are volumes of depth 5");
    EXPECT_EQ(error.text().where, "dataset scans/tiny");
  }
}

}  // namespace
}  // namespace cohort::train
