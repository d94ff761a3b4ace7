#include <functional>
#include <memory>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "sharded_fixture.h"
#include "toy_graphs.h"

namespace cohort::shard {
namespace {

struct Graph {
  std::string name;
  std::function<std::shared_ptr<ToyGraph>()> make;
};

template <class Model>
Graph graph(const std::string& name) {
  return {name, [] { return std::make_shared<Model>(); }};
}

class Graphs : public ::testing::TestWithParam<std::tuple<Graph, ShardingConfig>> {
 protected:
  Graphs() : ranks_(test::world()), mesh_(ranks_, shards()) {}

  [[nodiscard]] const ShardingConfig& config() const { return std::get<1>(GetParam()); }
  [[nodiscard]] int shards() const {
    if (config().strategy == Strategy::hybrid && ranks_.size() % 2 != 0) return 1;
    return shards_of(config(), ranks_);
  }
  [[nodiscard]] std::shared_ptr<ToyGraph> make() const { return std::get<0>(GetParam()).make(); }

  comm::Communicator ranks_;
  comm::DeviceMesh mesh_;
};

// Three steps: the first one knows nothing of the order of calls.
TEST_P(Graphs, HaveTheGradientsOfThePlainRunner) {
  const auto model = make();
  ShardedModel sharded(model, {.config = config()}, mesh_);

  for (int step = 0; step < 3; ++step) {
    const auto alone = make();
    sharded.begin_step(2);
    for (const int pass : {0, 1}) {
      model->loss(samples(2 * ranks_.rank() + pass + step)).backward();
      sharded.finish_backward();
    }
    for (int part = 0; part < 2 * ranks_.size(); ++part) alone->loss(samples(part + step)).backward();

    const Tensors gradients = gradients_of(sharded, mesh_);
    const auto expected = alone->named_parameters();
    ASSERT_EQ(gradients.size(), expected.size());
    for (const auto& [name, gradient] : gradients) {
      const at::Tensor& wanted = expected[name].grad();
      EXPECT_GT(wanted.abs().max().item<double>(), 1e-4) << name;
      EXPECT_LE((gradient - wanted).abs().max().item<double>(),
                4e-6 * std::max(1.0, wanted.abs().max().item<double>()))
          << name;
    }
  }
}

TEST_P(Graphs, HaveTheSameBitsOnAnyNumberOfRanks) {
  constexpr int kGroups = 12;
  const auto gradients = [](ShardedModel& sharded, ToyGraph& model, int rank, int size) {
    sharded.begin_step(kGroups / size);
    for (int i = 0; i < kGroups / size; ++i) {
      model.loss(samples(rank * kGroups / size + i)).backward();
      sharded.finish_backward();
    }
  };
  const auto model = make(), alone = make();
  ShardedModel sharded(model, {.config = config(), .reproducible = true}, mesh_);
  comm::Communicator self = ranks_.split(ranks_.rank(), "alone");
  comm::DeviceMesh alone_mesh(self, 1);
  // A call that is computed again hands back one gradient for an input that it used twice: other roundings.
  const ShardingConfig plain{.activation_checkpointing = config().activation_checkpointing};
  ShardedModel alone_sharded(alone, {.config = plain, .reproducible = true}, alone_mesh);

  gradients(sharded, *model, ranks_.rank(), ranks_.size());
  gradients(alone_sharded, *alone, 0, 1);

  const Tensors mine = gradients_of(sharded, mesh_), expected = gradients_of(alone_sharded, alone_mesh);
  for (const auto& [name, gradient] : mine) EXPECT_TRUE(at::equal(gradient, expected.at(name))) << name;
}

TEST_P(Graphs, EvaluateBetweenSteps) {
  const auto model = make(), alone = make();
  ShardedModel sharded(model, {.config = config()}, mesh_);
  for (int step = 0; step < 2; ++step) {
    {
      const at::NoGradGuard no_grad;
      EXPECT_TRUE(at::equal(model->loss(samples(1)), alone->loss(samples(1))));
    }
    sharded.begin_step();
    model->loss(samples(ranks_.rank())).backward();
    sharded.finish_backward();
  }
}

TEST_P(Graphs, RefuseAUnitThatRunsBeforeAForwardPassBegins) {
  const auto model = make();
  ShardedModel sharded(model, {.config = config()}, mesh_);
  const auto body = [](const nn::Tensors& inputs) { return inputs; };
  EXPECT_THROW(sharded.run(0, {samples(0)}, body), Bug);
  sharded.begin_step();
  model->loss(samples(0)).backward();
  sharded.finish_backward();
  EXPECT_THROW(sharded.run(0, {samples(0)}, body), Bug);
}

std::string graph_name(const ::testing::TestParamInfo<Graphs::ParamType>& of) {
  const auto& [graph, config] = of.param;
  return graph.name + "_" + case_name({config, of.index});
}

INSTANTIATE_TEST_SUITE_P(Toys, Graphs,
                         testing::Combine(testing::Values(graph<ToyUNet>("unet"),
                                                          graph<ToyTwoTowers>("towers"),
                                                          graph<ToyEncoderDecoder>("encoder_decoder")),
                                          testing::ValuesIn(sharding_cases())),
                         graph_name);

TEST(Graph, RanksWhoseCallsDifferHaveOtherNumbers) {
  comm::Communicator ranks = test::world();
  comm::DeviceMesh mesh(ranks, 1);
  const auto model = std::make_shared<ToyBranch>();
  ShardedModel sharded(model, {}, mesh);
  const auto calls = [&](bool branches) {
    model->branches = branches;
    sharded.begin_step();
    model->loss(samples(0)).backward();
    sharded.finish_backward();
    return sharded.take_calls();
  };
  EXPECT_EQ(calls(true), calls(true));
  EXPECT_NE(calls(true), calls(false));
}

}  // namespace
}  // namespace cohort::shard
