// The bits of an update do not depend on where flat parameters are cut.
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/shard/optimizer.h"

#include "shard/parameter_groups.h"
#include "simulated_ranks.h"

namespace cohort::shard {
namespace {

struct Case {
  std::string name = "adamw";
  ClipScope clip = ClipScope::global;
  double layer_decay = 1.0;
};

std::string name_of(const Case& variant) {
  return variant.name + "_" + std::string(config::enum_name(variant.clip)) +
         (variant.layer_decay < 1.0 ? "_layers" : "");
}

void PrintTo(const Case& variant, std::ostream* out) {
  *out << name_of(variant);
}

at::Tensor numbers(at::IntArrayRef shape, double phase) {
  return at::sin(at::arange(c10::multiply_integers(shape)).to(at::kFloat) * 1.7 + phase).view(shape);
}

// Odd sizes, so that parameters begin and end everywhere in a chunk and some lie in several.
Unit odd_unit() {
  Unit unit;
  unit.add("embed.weight", numbers({61, 37}, 0.1), 0);
  unit.add("blocks.0.weight", numbers({41, 43}, 0.7), 1);
  unit.add("blocks.0.zero", at::zeros({3, 7}), 1);
  unit.add("blocks.1.weight", numbers({53, 19}, 1.3), 2);
  unit.add("head.weight", numbers({7, 301}, 2.9), 3);
  unit.add("blocks.0.norm", numbers({59}, 3.1), 1);
  unit.add("blocks.1.unused", numbers({1}, 0.4), 2);
  unit.add("blocks.1.norm", numbers({203}, 4.1), 2);
  unit.add("head.bias", numbers({7}, 5.1), 3);
  unit.finish();
  return unit;
}

OptimizerConfig configured(const Case& variant) {
  OptimizerConfig config;
  config.name = variant.name;
  config.clip = variant.clip;
  config.clip_norm = variant.clip == ClipScope::global ? 1.5 : 0.4;
  config.layer_decay = variant.layer_decay;
  return config;
}

at::Tensor after_ten_steps(const Case& variant, int ranks) {
  Unit unit = odd_unit();
  const at::Tensor init = unit.value.clone();
  at::Tensor padding = at::ones_like(init);
  for (const ParameterSlot& slot : unit.slots()) Unit::view(padding, slot).zero_();
  SimulatedRanks simulated(unit, ranks, configured(variant));
  for (int step = 0; step < 10; ++step) {
    unit.gradient.zero_();
    for (const ParameterSlot& slot : unit.slots()) {
      if (slot.name != "blocks.1.unused")
        unit.gradient_of(slot.name).copy_(numbers(slot.shape, 0.3 * step) * 0.05);
    }
    EXPECT_GT(simulated.step(1e-2 * (step + 1), 0.05), 1.5);
  }
  EXPECT_EQ((unit.value * padding).abs().max().item<double>(), 0.0) << "padding has changed";
  EXPECT_FALSE(at::equal(unit.value, init));
  return unit.value;
}

class Cuts : public ::testing::TestWithParam<Case> {};

TEST_P(Cuts, DoNotChangeABit) {
  const at::Tensor whole = after_ten_steps(GetParam(), 1);
  for (const int ranks : {2, 3, 4}) {
    const at::Tensor value = after_ten_steps(GetParam(), ranks);
    EXPECT_EQ((value != whole).sum().item<std::int64_t>(), 0) << ranks << " ranks";
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto name : {"adamw", "sgd", "lars"}) {
    for (const auto clip : {ClipScope::global, ClipScope::parameter}) {
      for (const double layer_decay : {1.0, 0.75}) all.push_back({name, clip, layer_decay});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, Cuts, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return name_of(test.param); });

TEST(ParameterGroups, AreTwoRangesAShardByDefault) {
  const std::vector<FlatShard> whole = odd_unit().cut(1);

  const auto groups = parameter_groups(whole, 1.0);

  ASSERT_EQ(groups.size(), 2U);
  std::int64_t values = 0;
  for (const ParameterGroup& group : groups) {
    EXPECT_EQ(group.ranges.size(), 1U);
    EXPECT_EQ(group.lr_scale, 1.0);
    values += group.ranges[0].count;
  }
  const ParameterSlot& last = whole[0].slots.back();
  EXPECT_EQ(values, last.offset + 16);
}

TEST(ParameterGroups, RefuseASliceThatBeginsBetweenVectors) {
  std::vector<FlatShard> shards = odd_unit().cut(1);
  shards[0].begin = 7;
  shards[0].value = shards[0].value.narrow(0, 7, 1024);
  shards[0].gradient = shards[0].gradient.narrow(0, 7, 1024);

  EXPECT_THROW(parameter_groups(shards, 1.0), Bug);
}

}  // namespace
}  // namespace cohort::shard
