// Norms and averages over shards on the device have the bits of the CPU.
#include <memory>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/comm/mesh.h"
#include "cohort/shard/ema.h"
#include "cohort/shard/sharded_model.h"

#include "shard/norms.h"
#include "shard/tiny_model.h"
#include "support/ranks.h"

namespace cohort::shard {
namespace {

TEST(GpuShards, NormsHaveTheBitsOfTheCpu) {
  at::manual_seed(1);
  std::vector<FlatShard> shards(2);
  shards[0].slots = {{"a", {3, 1001}, 0}, {"b", {7}, 3008}, {"c", {1040}, 3024}};
  shards[1].slots = {{"d", {2048}, 0}, {"e", {}, 2048}};
  for (FlatShard& shard : shards) shard.value = at::empty({5 * 1024});
  const std::vector<at::Tensor> values{at::randn({5 * 1024}), at::randn({5 * 1024})};
  const std::vector<at::Tensor> on_device{values[0].cuda(), values[1].cuda()};
  comm::Communicator world = test::world();
  EXPECT_EQ(squared_norms(shards, on_device, world), squared_norms(shards, values, world));
}

TEST(GpuShards, ATeacherFollowsWithTheBitsOfTheCpu) {
  comm::Communicator world = test::world();
  std::vector<std::vector<at::Tensor>> results;
  for (const at::Device device : {at::Device(at::kCPU), at::Device(at::kCUDA, 0)}) {
    comm::DeviceMesh mesh(world, 1);
    ShardedModel teacher(std::make_shared<TinyModel>(2.0), {.device = device}, mesh),
        student(std::make_shared<TinyModel>(3.0), {.device = device}, mesh);
    for (int step = 0; step < 3; ++step) update_ema(teacher, student, 0.9);
    auto& values = results.emplace_back();
    for (const FlatShard& shard : teacher.shards()) values.push_back(shard.value.cpu());
  }
  for (std::size_t s = 0; s < results[0].size(); ++s)
    EXPECT_TRUE(at::equal(results[0][s], results[1][s])) << s;
}

}  // namespace
}  // namespace cohort::shard
