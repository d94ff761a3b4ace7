// What optimizers, clipping and parameter groups compute, against golden files and formulas in fp64.
#include "cohort/shard/optimizer.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "simulated_ranks.h"
#include "support/golden.h"

namespace cohort::shard {
namespace {

using cohort::testing::Golden;
using cohort::testing::relative_difference;

// Parameters of more than 16 values lie in two slices when there are enough of them; biases come last, in
// slices of their own.
Unit unit_of(const Golden& golden) {
  Unit unit;
  const auto& groups = golden.description()["groups"];
  for (std::size_t group = 0; group < 2; ++group) {
    for (const std::string name : groups[group]) {
      const at::Tensor& init = golden["init." + name];
      if (init.numel() > 16) unit.skip_to_cut();
      unit.add(name, init);
    }
    unit.skip_to_cut();
  }
  unit.finish();
  return unit;
}

void set_gradients(Unit& unit, const Golden& golden, int step) {
  unit.gradient.zero_();
  for (const ParameterSlot& slot : unit.slots()) {
    const std::string name = "grad" + std::to_string(step) + "." + slot.name;
    if (golden.has(name)) unit.gradient_of(slot.name).copy_(golden[name]);
  }
}

OptimizerConfig configured(const std::string& name) {
  OptimizerConfig config;
  config.name = name;
  return config;
}

// One step by the book, in fp64: `moments` starts as zeros.
struct Book {
  at::Tensor value, first, second;
  std::int64_t steps = 0;

  explicit Book(const at::Tensor& init)
      : value(init.to(at::kDouble)), first(at::zeros_like(value)), second(at::zeros_like(value)) {}

  void step(const std::string& rule, const at::Tensor& gradient, double lr, double decay) {
    ++steps;
    if (rule == "adamw") {
      first = 0.9 * first + 0.1 * gradient;
      second = 0.999 * second + 0.001 * gradient * gradient;
      const auto count = static_cast<double>(steps);
      const at::Tensor root = at::sqrt(second / (1 - std::pow(0.999, count))) + 1e-8;
      value = value * (1 - lr * decay) - lr * (first / (1 - std::pow(0.9, count))) / root;
      return;
    }
    at::Tensor update = gradient + decay * value;
    if (rule == "lars")
      update = update * (0.001 * value.norm().item<double>() / update.norm().item<double>());
    first = 0.9 * first + update;
    value = value - lr * first;
  }
};

class AgainstGolden : public ::testing::TestWithParam<std::string> {};

// The gradient of 2.weight is missing at step 1: torch then leaves the parameter alone, a flat buffer holds
// zeros. From that step on this parameter follows the formula with a zero gradient instead of the file.
TEST_P(AgainstGolden, GivesTheReferenceWeightsOnAnyNumberOfRanks) {
  const Golden golden("optim_" + GetParam());
  const auto& about = golden.description();
  const std::string missing = about["none_at"][0][0];
  ASSERT_EQ(about["none_at"][0][1], 1);
  for (const int ranks : {1, 2, 3, 4}) {
    Unit unit = unit_of(golden);
    SimulatedRanks simulated(unit, ranks, configured(GetParam()));
    Book book(golden["init." + missing]);
    for (int step = 0; step < 3; ++step) {
      SCOPED_TRACE(std::to_string(ranks) + " ranks, after step " + std::to_string(step));
      const double lr = about["lr"][static_cast<std::size_t>(step)],
                   decay = about["wd_group0"][static_cast<std::size_t>(step)];
      set_gradients(unit, golden, step);
      book.step(GetParam(), unit.gradient_of(missing).to(at::kDouble), lr, decay);
      simulated.step(lr, decay);
      for (const ParameterSlot& slot : unit.slots()) {
        const at::Tensor& after = golden["after" + std::to_string(step) + "." + slot.name];
        const bool skipped = slot.name == missing && step >= 1;
        EXPECT_LE(relative_difference(unit.parameter(slot.name), skipped ? book.value : after), 1e-6)
            << slot.name;
      }
    }
    EXPECT_EQ(simulated.optimizers[0]->steps(), 3);
  }
}

TEST_P(AgainstGolden, ResumesFromItsStates) {
  const Golden golden("optim_" + GetParam());
  Unit whole = unit_of(golden), resumed = unit_of(golden);
  SimulatedRanks first(whole, 1, configured(GetParam())), second(resumed, 1, configured(GetParam()));
  set_gradients(whole, golden, 0);
  first.step(1e-2, 0.1);

  resumed.value.copy_(whole.value);
  const auto from = first.optimizers[0]->states(), to = second.optimizers[0]->states();
  ASSERT_EQ(from.size(), to.size());
  for (std::size_t s = 0; s < from.size(); ++s) {
    EXPECT_EQ(from[s].name, to[s].name);
    EXPECT_GT(from[s].of_shard[0].abs().max().item<double>(), 0.0) << from[s].name;
    to[s].of_shard[0].copy_(from[s].of_shard[0]);
  }
  second.optimizers[0]->set_steps(first.optimizers[0]->steps());
  for (Unit* unit : {&whole, &resumed}) set_gradients(*unit, golden, 1);
  first.step(2e-2, 0.1);
  second.step(2e-2, 0.1);

  EXPECT_TRUE(at::equal(whole.value, resumed.value));
}

TEST_P(AgainstGolden, RefusesANormThatIsNoNumber) {
  const Golden golden("optim_" + GetParam());
  Unit unit = unit_of(golden);
  OptimizerConfig config = configured(GetParam());
  config.clip_norm = 1.0;
  SimulatedRanks simulated(unit, 1, config);
  Optimizer& optimizer = *simulated.optimizers[0];
  const at::Tensor before = unit.value.clone();
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    set_gradients(unit, golden, 0);
    unit.gradient_of("0.weight")[4][5] = bad;

    const double norm = optimizer.clip_gradients();

    EXPECT_FALSE(std::isfinite(norm));
    EXPECT_THROW(optimizer.step(1e-2, 0.1, norm), NumericalError);
  }
  EXPECT_EQ(optimizer.steps(), 0);
  EXPECT_TRUE(at::equal(unit.value, before));
}

INSTANTIATE_TEST_SUITE_P(All, AgainstGolden, ::testing::Values("adamw", "sgd", "lars"),
                         [](const auto& test) { return test.param; });

Unit unit_to_clip(const Golden& golden) {
  Unit unit;
  unit.skip_to_cut();
  for (const std::string name : {"a", "last_layer.weight", "b", "last_layer.bias"})
    unit.add(name, at::zeros_like(golden["before." + name]));
  unit.finish();
  for (const ParameterSlot& slot : unit.slots())
    unit.gradient_of(slot.name).copy_(golden["before." + slot.name]);
  return unit;
}

double norm_of(const Golden& golden) {
  double sum = 0.0;
  for (const std::string& name : golden.names("before."))
    sum += golden["before." + name].to(at::kDouble).square().sum().item<double>();
  return std::sqrt(sum);
}

TEST(Clipping, BoundsEachParameterAsTheReferenceDoes) {
  const Golden golden("clip_gradients");
  OptimizerConfig config;
  config.clip = ClipScope::parameter;
  config.clip_norm = golden.description()["clip"];
  for (const int ranks : {1, 2}) {
    Unit unit = unit_to_clip(golden);
    SimulatedRanks simulated(unit, ranks, config);

    const double norm = simulated.step(0.0, 0.0);

    EXPECT_NEAR(norm, norm_of(golden), 1e-9 * norm);
    for (const ParameterSlot& slot : unit.slots()) {
      EXPECT_LE(relative_difference(unit.gradient_of(slot.name), golden["after." + slot.name]), 1e-6)
          << slot.name << " on " << ranks << " ranks";
    }
  }
}

TEST(Clipping, BoundsTheNormOfAllGradients) {
  const Golden golden("clip_gradients");
  const double norm = norm_of(golden);
  OptimizerConfig config;
  for (const double bound : {norm / 2, norm * 2, 0.0}) {
    config.clip_norm = bound;
    Unit unit = unit_to_clip(golden);
    const at::Tensor before = unit.gradient.clone();
    SimulatedRanks simulated(unit, 2, config);

    EXPECT_NEAR(simulated.step(0.0, 0.0), norm, 1e-9 * norm);

    if (bound == norm / 2) {
      EXPECT_LE(relative_difference(unit.gradient, before * (bound / (norm + 1e-6))), 1e-6);
    } else {
      EXPECT_TRUE(at::equal(unit.gradient, before)) << bound;
    }
  }
}

Unit layered_unit() {
  Unit unit;
  unit.add("embed.weight", at::full({3, 30}, 2.0), 0);
  unit.add("blocks.0.weight", at::full({20, 2}, 2.0), 1);
  unit.add("odd.bias", at::full({2, 3}, 2.0), 1);
  unit.add("blocks.0.bias", at::full({20}, 2.0), 1);
  unit.add("head.bias", at::full({5}, 2.0), 3);
  unit.finish();
  return unit;
}

TEST(LayerDecay, ScalesTheLearningRateByDepth) {
  OptimizerConfig config = configured("sgd");
  config.layer_decay = 0.5;
  config.momentum = 0.0;
  Unit unit = layered_unit();
  SimulatedRanks simulated(unit, 1, config);
  unit.gradient.copy_((unit.value > 0).to(at::kFloat));

  simulated.step(0.25, 0.0);

  const std::vector<std::pair<std::string, double>> moved{
      {"embed.weight", 0.125}, {"blocks.0.weight", 0.25}, {"blocks.0.bias", 0.25}, {"head.bias", 1.0}};
  for (const auto& [name, scale] : moved)
    EXPECT_EQ((unit.parameter(name) - (2.0 - 0.25 * scale)).abs().max().item<double>(), 0.0) << name;
  EXPECT_TRUE(simulated.optimizers[0]->states().empty());
}

TEST(WeightDecay, LeavesOneDimensionAndBiasesAlone) {
  OptimizerConfig config = configured("sgd");
  Unit unit = layered_unit();
  SimulatedRanks simulated(unit, 1, config);

  simulated.step(1.0, 0.5);

  for (const std::string name : {"embed.weight", "blocks.0.weight"})
    EXPECT_EQ(unit.parameter(name).max().item<double>(), 1.0) << name;
  for (const std::string name : {"odd.bias", "blocks.0.bias", "head.bias"})
    EXPECT_EQ(unit.parameter(name).min().item<double>(), 2.0) << name;
}

// Without gradients, decay alone moves; LARS scales it to a thousandth of a matrix.
TEST(Rules, ScaleTheRateAndReplaceTheDecay) {
  const std::vector<nn::ParameterRule> rules{{.pattern = "*.bias", .weight_decay = 0.25},
                                             {.pattern = "embed.weight", .weight_decay = 0.0},
                                             {.pattern = "blocks.0.*", .lr_scale = 0.5}};
  for (const std::string name : {"adamw", "sgd", "lars"}) {
    const bool scales = name == "lars";
    Unit unit = layered_unit();
    SimulatedRanks simulated(unit, 2, configured(name), {rules});

    simulated.step(1.0, 0.5);

    const std::vector<std::pair<std::string, double>> moved{{"embed.weight", 2.0},
                                                            {"blocks.0.weight", scales ? 1.999 : 1.5},
                                                            {"odd.bias", scales ? 1.998 : 1.5},
                                                            {"blocks.0.bias", 1.75},
                                                            {"head.bias", 1.5}};
    for (const auto& [parameter, value] : moved)
      EXPECT_LE((unit.parameter(parameter) - value).abs().max().item<double>(), 1e-6)
          << name << " " << parameter;
  }
}

TEST(Rules, OfTheConfigurationComeInItsOrder) {
  const auto rules = configured_rules(
      {.frozen = {"a.*"}, .lr_of = {"b=0", "x=y=2.5"}, .no_weight_decay = {"cls_token", "pos_embed"}});
  ASSERT_EQ(rules.size(), 5U);
  EXPECT_EQ(rules[0].pattern, "a.*");
  EXPECT_EQ(rules[0].trained, false);
  EXPECT_EQ(rules[1].lr_scale, 0.0);
  EXPECT_EQ(rules[2].pattern, "x=y");
  EXPECT_EQ(rules[2].lr_scale, 2.5);
  EXPECT_EQ(rules[4].pattern, "pos_embed");
  EXPECT_EQ(rules[4].weight_decay, 0.0);
  for (const std::string wrong : {"head.*", "head.*=", "head.*=fast", "head.*=-1", "head.*=1001", "=", ""})
    EXPECT_THROW(configured_rules({.lr_of = {wrong}}), UsageError) << wrong;
}

// As torch.optim with .grad None: no update, no decay, no moments, and a count of steps of its own.
TEST(Optimizer, HeldParametersBeginLater) {
  for (const std::string name : {"adamw", "sgd", "lars"}) {
    const OptimizerConfig config = configured(name);
    const Rules held{{{.pattern = "blocks.0.*", .first_epoch = 1}}, 2};
    Unit late = layered_unit(), fresh = layered_unit();
    SimulatedRanks simulated(late, 2, config, held), reference(fresh, 2, config);
    const auto set_gradient = [](Unit& unit) { unit.gradient.copy_((unit.value > 0).to(at::kFloat)); };
    for (int step = 0; step < 2; ++step) {
      set_gradient(late);
      simulated.step(0.1, 0.1);
    }
    EXPECT_LT(late.parameter("embed.weight").max().item<double>(), 2.0) << name;
    for (const std::string still : {"blocks.0.weight", "blocks.0.bias"})
      EXPECT_TRUE(at::equal(late.parameter(still), fresh.parameter(still))) << name << " " << still;

    set_gradient(late);
    set_gradient(fresh);
    simulated.step(0.05, 0.2);
    reference.step(0.05, 0.2);

    EXPECT_LT(late.parameter("blocks.0.bias").max().item<double>(), 2.0) << name;
    for (const std::string began : {"blocks.0.weight", "blocks.0.bias"})
      EXPECT_TRUE(at::equal(late.parameter(began), fresh.parameter(began))) << name << " " << began;
  }
}

TEST(Optimizer, LeavesFrozenShardsAlone) {
  for (const std::string name : {"adamw", "sgd", "lars"}) {
    Unit trained = layered_unit(), still = layered_unit();
    std::vector<FlatShard> shards{trained.cut(1)[0], still.cut(1)[0]};
    shards[1].trained = false;
    shards[1].gradient = at::Tensor();
    trained.gradient.copy_((trained.value > 0).to(at::kFloat));
    const auto norms = [&](std::span<const at::Tensor> values) {
      EXPECT_FALSE(values[1].defined());
      std::vector<double> ones(trained.slots().size(), 1.0), zeros(still.slots().size(), 0.0);
      return std::vector{ones, zeros};
    };
    const auto optimizer = make_optimizer(shards, configured(name), norms);

    optimizer->step(0.1, 0.1, optimizer->clip_gradients());

    EXPECT_EQ(still.value.max().item<double>(), 2.0) << name;
    EXPECT_LT(trained.value.max().item<double>(), 2.0) << name;
    for (const auto& state : optimizer->states()) EXPECT_FALSE(state.of_shard[1].defined());
  }
}

}  // namespace
}  // namespace cohort::shard
