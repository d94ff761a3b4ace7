// Kernels as they are launched: which thread does what, and the barriers between. Against replays of their
// bodies.
#include <array>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "augment/device_views_cases.h"
#include "augment/view_kernel.h"
#include "augment/view_plan.h"
#include "nn/keyed_uniform.h"
#include "nn/keyed_uniform_kernel.h"
#include "nn/segment_sums_kernel.h"
#include "shard/norms.h"
#include "shard/norms_kernel.h"

namespace cohort {
namespace {

TEST(SegmentSumsKernel, SumsAndGathersInBlocksOfColumns) {
  at::manual_seed(1);
  constexpr std::int64_t kImages = 11, kWidth = 130,
                         kRows = 6;  // two tiles of columns, the second one nearly empty
  const at::Tensor means = at::randn({kImages, kWidth}),
                   segment = at::randint(kRows, {2, kImages}, at::kLong),
                   gradient = at::randn({kRows, kWidth + 1});
  at::Tensor table = at::empty({kRows, kWidth + 1}), of_means = at::empty({kImages, kWidth});

  nn::launch(nn::SegmentSums<float>{means.const_data_ptr<float>(), segment.const_data_ptr<std::int64_t>(),
                                    table.mutable_data_ptr<float>(), kImages, kWidth, 2 * kImages},
             kRows, nullptr);
  nn::launch(
      nn::SegmentGradients<float>{gradient.const_data_ptr<float>(), segment.const_data_ptr<std::int64_t>(),
                                  of_means.mutable_data_ptr<float>(), kImages, kWidth, 2 * kImages},
      nullptr);

  const at::Tensor all = at::cat({means, at::ones({kImages, 1})}, 1).repeat({2, 1});
  EXPECT_TRUE(at::equal(table, at::zeros_like(table).index_add(0, segment.flatten(), all)));
  const at::Tensor gathered =
      gradient.index_select(0, segment.flatten()).view({2, kImages, kWidth + 1}).sum(0);
  EXPECT_TRUE(at::equal(of_means, gathered.narrow(1, 0, kWidth)));
}

TEST(UniformKernel, FillsRowsOfAnyLength) {
  const at::Tensor sample = at::tensor({5L, 17L, (1L << 33) + 1}, at::kLong);
  const nn::Conditions conditions{.sample = sample, .seed = 3, .step = 11, .training = true};
  const auto key = philox_key({3, Purpose::dropout, 11, 0, 4});
  for (const std::int64_t count : {1, 6, 4 * 256 + 5}) {  // the last one needs a second block
    at::Tensor values = at::full({3, count}, -1.0F);

    nn::launch(nn::KeyedUniform{sample.const_data_ptr<std::int64_t>(), values.mutable_data_ptr<float>(),
                                count, key[0], key[1], 4},
               3, nullptr);

    EXPECT_TRUE(at::equal(values, nn::keyed_uniform(count, Purpose::dropout, conditions, 4, at::kCPU)));
    EXPECT_FALSE(at::equal(values[0], values[1]));
    EXPECT_FALSE(at::equal(values[0], values[2]));
  }
}

TEST(SquareSumsKernel, FillsTheTable) {
  at::manual_seed(1);
  std::vector<shard::FlatShard> shards(2);
  shards[0].slots = {{"a", {3, 1001}, 0}, {"b", {7}, 3008}, {"c", {66000}, 3024}};
  shards[1].slots = {{"d", {2048}, 0}, {"e", {}, 2048}};
  const std::vector<at::Tensor> values{at::randn({70 * 1024}), at::randn({3 * 1024})};
  for (std::size_t s = 0; s < shards.size(); ++s) shards[s].value = values[s];
  const shard::HeldParts held = shard::held_parts(shards, values);
  std::vector<double> expected(static_cast<std::size_t>(held.table)), table = expected;
  for (std::int64_t i = 0; i < held.pieces; ++i) {
    const shard::HeldPiece piece = shard::find_piece(held.parts.data(), std::ssize(held.parts), i);
    std::array<double, shard::kSquareLanes> lanes{};
    for (std::size_t lane = 0; lane < lanes.size(); ++lane)
      lanes[lane] = shard::sum_lane(piece, static_cast<std::int64_t>(lane));
    expected[static_cast<std::size_t>(piece.number)] = shard::sum_of_lanes(lanes.data());
  }
  ASSERT_GT(held.pieces, 64) << "more than two blocks";

  shard::launch_square_sums(held.parts.data(), std::ssize(held.parts), held.pieces, table.data(), nullptr);

  EXPECT_EQ(table, expected);
}

}  // namespace

namespace augment {
namespace {

template <class Recipe>
void launch_all(const ViewBatch& batch) {
  constexpr int kBlocks = 2;  // each does several jobs
  const Work work = work_of<Recipe>(batch);
  at::Tensor memory = at::empty({kBlocks, work.bytes}, at::kByte);
  launch_views<Recipe>(batch, work.jobs, memory.mutable_data_ptr<std::uint8_t>(), work.bytes, kBlocks,
                       nullptr);
}

TEST_P(DeviceViewsTest, LaunchedOnTheCpuHaveTheBitsOfTheReplay) {
  constexpr std::int64_t kFew = 2;
  const at::Tensor stored = stored_.narrow(0, 0, kFew);
  const auto maker = training_views(config_, description_, GetParam().normalisation, 3, 5);
  at::Tensor recipes = at::zeros({kFew, maker->recipe_bytes()}, at::kByte);
  for (std::int64_t i = 0; i < kFew; ++i) {
    maker->draw(2 * i, {static_cast<std::byte*>(recipes.mutable_data_ptr()) + i * recipes.size(1),
                        static_cast<std::size_t>(recipes.size(1))});
  }
  const ViewPlan plan(config_, description_, GetParam().normalisation, at::kCPU, kGlobalCrops);
  const PlannedViews planned = plan.plan(stored, recipes);

  if (config_.preset == "camelyon_dino") launch_all<ColourRecipe>(planned.batch);
  if (config_.preset == "cell_dino") launch_all<CellRecipe>(planned.batch);
  if (config_.preset == "whole") launch_all<WholeRecipe>(planned.batch);

  const auto expected =
      DeviceViews(config_, description_, GetParam().normalisation, at::kCPU).make(stored, recipes);
  ASSERT_EQ(planned.views.size(), expected.size());
  for (std::size_t v = 0; v < expected.size(); ++v)
    EXPECT_TRUE(at::equal(planned.views[v], expected[v])) << v;
}

INSTANTIATE_TEST_SUITE_P(Launched, DeviceViewsTest, ::testing::ValuesIn(device_views_cases()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace augment
}  // namespace cohort
