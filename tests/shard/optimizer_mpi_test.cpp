// Optimizers on the engine's own shards.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "cohort/shard/optimizer.h"

#include "sharded_fixture.h"
#include "support/golden.h"

namespace cohort::shard {
namespace {

constexpr double kLr = 0.1, kDecay = 0.2, kClip = 0.05, kLayerDecay = 0.5;

// One update by LARS with clipped gradients and layer-wise learning rates, in fp64.
at::Tensor by_the_book(const at::Tensor& value, const at::Tensor& gradient, int layers_behind) {
  const at::Tensor x = value.to(at::kDouble), g = gradient.to(at::kDouble);
  at::Tensor update = g * std::min(1.0, kClip / (g.norm().item<double>() + 1e-6));
  if (x.dim() >= 2) {
    update = update + kDecay * x;
    const double length = update.norm().item<double>();
    if (length > 0.0) update = update * (1e-3 * x.norm().item<double>() / length);
  }
  return x - kLr * std::pow(kLayerDecay, layers_behind) * update;
}

class OptimizerOnShards : public ShardedModelTest {};

TEST_P(OptimizerOnShards, KnowsWholeParameters) {
  ShardedModel sharded = make();
  const auto optimizer = make_optimizer(
      sharded.shards(),
      {.name = "lars", .layer_decay = kLayerDecay, .clip_norm = kClip, .clip = ClipScope::parameter},
      [&](auto values) { return sharded.squared_norms(values); });
  sharded.begin_step();
  backward(sharded, samples(0));
  const Tensors before = parameters_of(sharded), gradients = gradients_of(sharded);
  const double norm = sharded.gradient_norm();

  const double clipped = optimizer->clip_gradients();
  optimizer->step(kLr, kDecay, clipped);
  sharded.parameters_changed();

  EXPECT_EQ(clipped, norm);
  for (const auto& [name, value] : parameters_of(sharded)) {
    const at::Tensor expected =
        name == "frozen" ? before.at(name)
                         : by_the_book(before.at(name), gradients.at(name), 4 - model_->layer_of(name));
    EXPECT_LE(testing::relative_difference(value, expected), 1e-6) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Strategies, OptimizerOnShards, ::testing::ValuesIn(sharding_cases()), case_name);

}  // namespace
}  // namespace cohort::shard
