// Parameters that rules train, on shards: the numbers of a loop over whole tensors on one process.
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/nn/parameter_rule.h"
#include "cohort/shard/optimizer.h"

#include "sharded_fixture.h"
#include "toy_graphs.h"

namespace cohort::shard {
namespace {

constexpr std::int64_t kStepsPerEpoch = 2;
constexpr double kRate = 0.02, kWeightDecay = 0.1;

struct RuledGraph {
  std::string name;
  std::function<std::shared_ptr<ToyGraph>()> make;
  std::vector<nn::ParameterRule> rules;
};

// A frozen tower; one in the middle of a chain, through which gradients pass; one that both of two inputs go
// through, and a unit that runs twice.
std::vector<RuledGraph> ruled_graphs() {
  const std::vector<nn::ParameterRule> alike{{.pattern = "*.bias", .weight_decay = 0.3},
                                             {.pattern = "*1.linear.weight", .weight_decay = 0.0}};
  std::vector<RuledGraph> graphs{
      {"towers",
       [] { return std::make_shared<ToyTwoTowers>(); },
       {{.pattern = "text.*", .trained = false},
        {.pattern = "image.layer2.*", .lr_scale = 4.0},
        {.pattern = "image.scale", .first_epoch = 1}}},
      {"unet",
       [] { return std::make_shared<ToyUNet>(); },
       {{.pattern = "down1.*", .trained = false},
        {.pattern = "bottom.*", .trained = false},
        {.pattern = "*.linear.*", .lr_scale = 0.5},
        {.pattern = "up?.linear.weight", .first_epoch = 2}}},
      {"encoder_decoder",
       [] { return std::make_shared<ToyEncoderDecoder>(); },
       {{.pattern = "*", .trained = false},
        {.pattern = "decoder*", .trained = true},
        {.pattern = "decoder0.*", .lr_scale = 3.0}}},
  };
  for (RuledGraph& graph : graphs) graph.rules.insert(graph.rules.end(), alike.begin(), alike.end());
  return graphs;
}

void freeze(const ToyGraph& model, const std::vector<nn::ParameterRule>& rules) {
  for (const auto& item : model.named_parameters())
    item.value().set_requires_grad(nn::rule_for(item.key(), rules).trained.value_or(true));
}

// torch.optim.AdamW in fp64 with a group of parameters for each rule; what begins later counts its own steps.
class PlainAdamW {
 public:
  PlainAdamW(std::shared_ptr<ToyGraph> model, const std::vector<nn::ParameterRule>& rules)
      : model_(std::move(model)), rules_(rules) {
    freeze(*model_, rules_);
  }

  void step(int number) {
    const at::NoGradGuard no_grad;
    for (auto& item : model_->named_parameters()) {
      at::Tensor& parameter = item.value();
      if (!parameter.requires_grad()) {
        EXPECT_FALSE(parameter.grad().defined()) << item.key();
        continue;
      }
      const nn::ParameterRule rule = nn::rule_for(item.key(), rules_);
      const std::int64_t t = number + 1 - rule.first_epoch.value_or(0) * kStepsPerEpoch;
      if (t > 0) move(item.key(), parameter, rule, static_cast<double>(t));
      parameter.mutable_grad() = at::Tensor();
    }
  }

 private:
  void move(const std::string& name, at::Tensor& parameter, const nn::ParameterRule& rule, double t) {
    const at::Tensor x = parameter.to(at::kDouble), g = parameter.grad().to(at::kDouble);
    at::Tensor& mean = mean_.try_emplace(name, at::zeros_like(x)).first->second;
    at::Tensor& square = square_.try_emplace(name, at::zeros_like(x)).first->second;
    mean = 0.9 * mean + 0.1 * g;
    square = 0.999 * square + 0.001 * g * g;
    const bool is_weight = x.dim() >= 2 && !name.ends_with(".bias");
    const double rate = kRate * rule.lr_scale.value_or(1.0),
                 decay = rule.weight_decay.value_or(is_weight ? kWeightDecay : 0.0);
    const at::Tensor root = at::sqrt(square / (1 - std::pow(0.999, t))) + 1e-8;
    parameter.copy_(x * (1 - rate * decay) - rate * (mean / (1 - std::pow(0.9, t))) / root);
  }

  std::shared_ptr<ToyGraph> model_;
  std::vector<nn::ParameterRule> rules_;
  Tensors mean_, square_;
};

class RulesOnShards : public ::testing::TestWithParam<std::tuple<RuledGraph, ShardingConfig>> {
 protected:
  RulesOnShards() : ranks_(test::world()), mesh_(ranks_, shards()) {}

  [[nodiscard]] const RuledGraph& graph() const { return std::get<0>(GetParam()); }
  [[nodiscard]] const ShardingConfig& config() const { return std::get<1>(GetParam()); }
  [[nodiscard]] int shards() const {
    if (config().strategy == Strategy::hybrid && ranks_.size() % 2 != 0) return 1;
    return shards_of(config(), ranks_);
  }
  [[nodiscard]] std::shared_ptr<ToyGraph> make() const {
    auto model = graph().make();
    freeze(*model, graph().rules);
    return model;
  }
  [[nodiscard]] std::unique_ptr<Optimizer> optimizer_of(ShardedModel& sharded) const {
    return make_optimizer(sharded.shards(), {}, [&](auto values) { return sharded.squared_norms(values); },
                          {graph().rules, kStepsPerEpoch});
  }

  comm::Communicator ranks_;
  comm::DeviceMesh mesh_;
};

// Differences are those of sums in another order, which the root of AdamW's second moment makes larger where
// a gradient is small.
TEST_P(RulesOnShards, GiveTheNumbersOfAPlainRun) {
  const auto model = make(), plain = graph().make();
  ShardedModel sharded(model, {.config = config()}, mesh_);
  const auto optimizer = optimizer_of(sharded);
  PlainAdamW by_the_book(plain, graph().rules);
  const Tensors before = parameters_of(sharded);

  for (int step = 0; step < 5; ++step) {
    sharded.begin_step();
    model->loss(samples(ranks_.rank() + step)).backward();
    sharded.finish_backward();
    optimizer->step(kRate, kWeightDecay, optimizer->clip_gradients());
    sharded.parameters_changed();
    for (int rank = 0; rank < ranks_.size(); ++rank) plain->loss(samples(rank + step)).backward();
    by_the_book.step(step);

    const auto expected = plain->named_parameters();
    for (const auto& [name, value] : parameters_of(sharded)) {
      const bool frozen = !expected[name].requires_grad();
      EXPECT_TRUE(!frozen || at::equal(value, before.at(name))) << name;
      EXPECT_LE((value - expected[name]).abs().max().item<double>(), 2e-5) << name << " in step " << step;
    }
  }
}

// What is frozen is no more than its values: every value of gradients and moments belongs to a parameter that
// is trained, or is padding of one.
TEST_P(RulesOnShards, KeepNothingElseForWhatIsFrozen) {
  const auto model = make();
  ShardedModel sharded(model, {.config = config()}, mesh_);
  const auto optimizer = optimizer_of(sharded);

  std::int64_t frozen = 0;
  for (std::size_t i = 0; i < sharded.shards().size(); ++i) {
    const FlatShard& shard = sharded.shards()[i];
    for (const ParameterSlot& slot : shard.slots) {
      const bool trained = nn::rule_for(slot.name, graph().rules).trained.value_or(true);
      EXPECT_EQ(shard.trained, trained) << slot.name;
      frozen += trained ? 0 : 1;
    }
    EXPECT_EQ(shard.gradient.defined(), shard.trained);
    for (const auto& state : optimizer->states()) EXPECT_EQ(state.of_shard[i].defined(), shard.trained);
  }
  EXPECT_GT(frozen, 0);
}

// A model that is frozen as a whole: gathered as any other, but nothing of it is reduced.
TEST_P(RulesOnShards, AFrozenModelIsSharded) {
  const auto model = graph().make(), alone = graph().make();
  freeze(*model, {{.pattern = "*", .trained = false}});
  ShardedModel sharded(model, {.config = config()}, mesh_);
  const at::NoGradGuard no_grad;
  for (int step = 0; step < 2; ++step) {
    sharded.begin_step(2);
    for (int pass = 0; pass < 2; ++pass) {
      EXPECT_TRUE(at::equal(model->loss(samples(pass)), alone->loss(samples(pass))));
      sharded.finish_backward();
    }
  }
  for (const FlatShard& shard : sharded.shards()) EXPECT_FALSE(shard.trained || shard.gradient.defined());
  EXPECT_EQ(sharded.gradient_norm(), 0.0);
}

std::string ruled_name(const ::testing::TestParamInfo<RulesOnShards::ParamType>& of) {
  const auto& [graph, config] = of.param;
  return graph.name + "_" + case_name({config, of.index});
}

INSTANTIATE_TEST_SUITE_P(Toys, RulesOnShards,
                         testing::Combine(testing::ValuesIn(ruled_graphs()),
                                          testing::ValuesIn(sharding_cases())),
                         ruled_name);

}  // namespace
}  // namespace cohort::shard
