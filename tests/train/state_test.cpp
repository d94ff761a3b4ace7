// Frozen parameters in checkpoints: kept, without optimizer state, whatever reads them.
#include "train/state.h"

#include <map>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "shard/tiny_model.h"
#include "support/ranks.h"
#include "support/tiny_dataset.h"

namespace cohort::train {
namespace {

using shard::Strategy;
using Tensors = std::map<std::string, at::Tensor>;

constexpr int kGroups = 12;

/// A model of which the engine trains all but `frozen` and a matrix, with its optimizer.
struct Training {
  Training(comm::Communicator& all_ranks, Strategy strategy, double phase)
      : ranks(all_ranks), mesh(ranks, shard::shards_of({.strategy = strategy}, ranks)) {
    model->fill(phase);
    model->blocks[1]->linear->weight.set_requires_grad(false);
    sharded = std::make_unique<shard::ShardedModel>(
        model, shard::ShardedModel::Options{.config = {.strategy = strategy}, .reproducible = true}, mesh);
    optimizer = shard::make_optimizer(sharded->shards(), {.lr = 1e-2},
                                      [this](auto values) { return sharded->squared_norms(values); });
  }

  void step(int number) {
    const int groups = kGroups / ranks.size();
    sharded->begin_step(groups);
    for (int i = 0; i < groups; ++i) {
      model->loss(shard::samples(number * kGroups + ranks.rank() * groups + i)).backward();
      sharded->finish_backward();
    }
    optimizer->step(1e-2, 0.05, optimizer->clip_gradients());
    sharded->parameters_changed();
  }

  TrainingState state() { return {{{"model", sharded.get()}}, optimizer.get()}; }

  /// On rank 0.
  Tensors parameters() {
    Tensors result;
    sharded->for_each_parameter(
        [&](const std::string& name, const at::Tensor& values) { result[name] = values.clone(); });
    return result;
  }

  comm::Communicator& ranks;
  comm::DeviceMesh mesh;
  std::shared_ptr<shard::TinyModel> model = std::make_shared<shard::TinyModel>(0.0);
  std::unique_ptr<shard::ShardedModel> sharded;
  std::unique_ptr<shard::Optimizer> optimizer;
};

void expect_same_bits(const Tensors& actual, const Tensors& expected) {
  for (const auto& [name, values] : actual) EXPECT_TRUE(at::equal(values, expected.at(name))) << name;
}

TEST(State, FrozenParametersAreKeptAndGoOnOnOtherRanksAndStrategies) {
  comm::Communicator world = test::world();
  const testing::SharedFolder folder(world);
  comm::Communicator part = world.split(world.rank() == 0 ? 0 : 1, "part");
  Training training(world, Strategy::full, 1.0);
  checkpoint::Store store(folder.path() / "checkpoints", world);
  for (int step = 0; step < 2; ++step) training.step(step);
  store.save(state_to_save(training.state(), world), {2, 0, 1, "", ""});
  const Tensors saved = training.parameters();
  training.step(2);
  const Tensors expected = training.parameters();

  if (world.rank() == 0) {
    const auto tensors = store.contents(2).tensors;
    for (const std::string name : {"frozen", "block1.linear.weight"}) {
      EXPECT_TRUE(tensors.contains("/model/" + name));
      EXPECT_FALSE(tensors.contains("/optimizer/exp_avg/" + name)) << name;
    }
    EXPECT_TRUE(tensors.contains("/optimizer/exp_avg/block0.linear.weight"));
  }
  for (const Strategy strategy : {Strategy::replicate, Strategy::optimizer, Strategy::full}) {
    for (comm::Communicator* ranks : {&world, &part}) {
      Training resumed(*ranks, strategy, 5.0);
      checkpoint::Store reader(folder.path() / "checkpoints", *ranks);

      load_state(reader, 2, resumed.state(), *ranks);

      const Tensors loaded = resumed.parameters();
      resumed.step(2);
      const Tensors next = resumed.parameters();
      if (world.rank() != 0) continue;
      expect_same_bits(loaded, saved);
      expect_same_bits(next, expected);
      EXPECT_EQ(resumed.optimizer->steps(), 3);
    }
  }
  world.barrier();
}

}  // namespace
}  // namespace cohort::train
