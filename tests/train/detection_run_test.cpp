// A detector that learns a few bright and dim squares by heart, and is judged while it learns.
#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/train/trainer.h"

#include "support/field_rows.h"
#include "support/options.h"
#include "support/ranks.h"
#include "tiny_run.h"

namespace cohort::train {
namespace {

constexpr std::int64_t kSquareSide = 32, kSquareImages = 24;

/// x0, y0, side and class of the squares of an image: none in every eighth one.
std::vector<std::array<std::int64_t, 4>> squares_of(std::int64_t image) {
  RandomStream random({.seed = 5, .purpose = Purpose::synthetic, .sample = image});
  std::vector<std::array<std::int64_t, 4>> squares;
  if (image % 8 == 7) return squares;
  for (std::int64_t half = 0; half < 1 + image % 2; ++half) {
    const auto side = static_cast<std::int64_t>(7 + random.below(6));
    squares.push_back({half * 16 + static_cast<std::int64_t>(random.below(4)),
                       static_cast<std::int64_t>(random.below(20)), side,
                       static_cast<std::int64_t>(random.below(2))});
  }
  return squares;
}

void draw_squares(std::int64_t image, std::span<std::byte> out) {
  std::fill(out.begin(), out.end(), std::byte{20});
  for (const auto& [x0, y0, side, of_class] : squares_of(image)) {
    for (std::int64_t y = y0; y < y0 + side; ++y) {
      for (std::int64_t x = x0; x < std::min(x0 + side, kSquareSide); ++x)
        out[static_cast<std::size_t>(y * kSquareSide + x)] = of_class == 0 ? std::byte{120} : std::byte{240};
    }
  }
}

std::vector<std::byte> boxes_of_squares(std::int64_t image) {
  std::vector<float> values;
  for (const auto& [x0, y0, side, of_class] : squares_of(image)) {
    for (const std::int64_t value : {x0, y0, std::min(x0 + side, kSquareSide), y0 + side, of_class})
      values.push_back(static_cast<float>(value));
  }
  return testing::bytes_of(std::span<const float>(values));
}

/// Collective. The test split shows what the training split shows.
void write_squares(const std::filesystem::path& folder, comm::Communicator& ranks) {
  data::Description description;
  description.name = "squares";
  description.images = {data::PixelType::u8, 1, kSquareSide, kSquareSide};
  description.channels = {"gray"};
  description.contexts = {{"site", {"x", "y"}}};
  description.fields = {{"squares",
                         data::FieldKind::boxes,
                         data::ValueType::f32,
                         {-1, 5},
                         data::Codec::raw,
                         "",
                         {"dim", "bright"}}};
  description.splits = {{"train", {}}, {"test", {}}};
  std::vector<data::Row> rows;
  for (std::int32_t i = 0; i < 2 * kSquareImages; ++i)
    rows.push_back({fmt::format("{:02}", i), i / static_cast<std::int32_t>(kSquareImages), {}, {i % 2}});
  data::PixelSource source(
      [](std::int64_t row, std::span<std::byte> out) { draw_squares(row % kSquareImages, out); });
  source.field = [](std::size_t, std::int64_t row) { return boxes_of_squares(row % kSquareImages); };
  (void)data::write_dataset(folder, description, rows, source, {}, ranks);
}

class DetectionRun : public ::testing::Test {
 protected:
  DetectionRun() { write_squares(folder.path() / "squares", world); }

  RunConfig run(const std::string& name, std::int64_t steps) {
    RunConfig config = tiny_run(folder.path(), name);
    config.data.path = folder.path() / "squares";
    config.sampler.images_per_group = 4;
    config.sampler.repeats = 2;
    config.model.dropout = 0;
    config.augment.whole.flip_horizontal = false;
    config.optimizer.lr = 5e-3;
    config.train.max_steps = steps;
    config.checkpoint = {.every_steps = steps, .keep_last = 1, .best_by = "test/ap50"};
    config.eval.every_epochs = 20;
    testing::set_options(config, {"supervised.task=detection", "supervised.head=yolo",
                                  "supervised.yolo_width=16", "model.name=resnet18", "model.resnet.width=4",
                                  "model.resnet.stem=small", "context.keys=[]", "sampler.group_by=site"});
    return config;
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

TEST_F(DetectionRun, LearnsItsImagesByHeart) {
  const RunConfig config = run("run", 60);
  ASSERT_EQ(Trainer(config, world).run(), ExitCode::done);
  world.barrier();
  const auto evaluations = lines_of(config.run_dir, "evaluation");
  ASSERT_EQ(evaluations.size(), 3U);
  EXPECT_EQ(evaluations.back().at("task"), "detection");
  EXPECT_EQ(evaluations.back().at("label"), "squares");
  const auto best = lines_of(config.run_dir, "best").back();
  EXPECT_EQ(best.at("by"), "test/ap50");
  EXPECT_GT(best.at("score").get<double>(), 0.8);
}

}  // namespace
}  // namespace cohort::train
