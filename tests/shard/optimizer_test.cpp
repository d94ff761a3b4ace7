#include "cohort/shard/optimizer.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "support/golden.h"

namespace cohort::shard {
namespace {

using cohort::testing::Golden;
using cohort::testing::relative_difference;

// The parameters of the golden file in one flat unit, matrices first, cut into three slices at places that
// fall into the middle of parameters, as a sharded engine would cut them.
class FlatGolden {
 public:
  explicit FlatGolden(const Golden& golden) {
    for (int group = 0; group < 2; ++group) {
      for (const std::string name : golden.description()["groups"][static_cast<std::size_t>(group)]) {
        const at::Tensor& init = golden["init." + name];
        slots_.push_back({name, init.sizes().vec(), size_});
        size_ += (init.numel() + 15) / 16 * 16;  // the engine's alignment
      }
      if (group == 0) decayed_ = size_;
    }
    value_ = at::zeros({size_});
    gradient_ = at::zeros({size_});
    for (const ParameterSlot& slot : slots_) view(value_, slot).copy_(golden["init." + slot.name]);
    const std::vector<std::int64_t> cuts{0, 7, decayed_ + 2, size_};
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      FlatShard shard;
      shard.slots = slots_;
      shard.begin = cuts[i];
      shard.value = value_.narrow(0, cuts[i], cuts[i + 1] - cuts[i]);
      shard.gradient = gradient_.narrow(0, cuts[i], cuts[i + 1] - cuts[i]);
      shards.push_back(shard);
    }
  }

  void set_gradients(const Golden& golden, int step) {
    gradient_.zero_();
    for (const ParameterSlot& slot : slots_) {
      const std::string name = "grad" + std::to_string(step) + "." + slot.name;
      if (golden.has(name)) view(gradient_, slot).copy_(golden[name]);
    }
  }

  at::Tensor parameter(const std::string& name) const {
    for (const ParameterSlot& slot : slots_) {
      if (slot.name == name) return view(value_, slot);
    }
    throw std::runtime_error("no parameter " + name);
  }
  const std::vector<ParameterSlot>& slots() const { return slots_; }

  std::vector<FlatShard> shards;

 private:
  static at::Tensor view(const at::Tensor& flat, const ParameterSlot& slot) {
    std::int64_t count = 1;
    for (const std::int64_t size : slot.shape) count *= size;
    return flat.narrow(0, slot.offset, count).view(slot.shape);
  }

  std::vector<ParameterSlot> slots_;
  std::int64_t size_ = 0, decayed_ = 0;
  at::Tensor value_, gradient_;
};

// AdamW by the book, in fp64, with a gradient of zero where the file has none.
at::Tensor by_the_book(const Golden& golden, const std::string& name, int steps) {
  at::Tensor value = golden["init." + name].to(at::kDouble), mean = at::zeros_like(value),
             square = at::zeros_like(value);
  const auto& about = golden.description();
  for (int t = 0; t < steps; ++t) {
    const std::string key = "grad" + std::to_string(t) + "." + name;
    const at::Tensor gradient = golden.has(key) ? golden[key].to(at::kDouble) : at::zeros_like(value);
    const auto step = static_cast<std::size_t>(t);
    const double lr = about["lr"][step], decay = about["wd_group0"][step];
    mean = 0.9 * mean + 0.1 * gradient;
    square = 0.999 * square + 0.001 * gradient * gradient;
    const at::Tensor root = at::sqrt(square / (1 - std::pow(0.999, t + 1))) + 1e-8;
    value = value * (1 - lr * decay) - lr * (mean / (1 - std::pow(0.9, t + 1))) / root;
  }
  return value;
}

// The gradient of 2.weight is missing at step 1: torch then leaves the parameter alone, a flat buffer holds
// zeros. From that step on this parameter follows the formula with a zero gradient instead of the file.
TEST(AdamW, GivesTheWeightsOfTorch) {
  const Golden golden("optim_adamw");
  const std::string missing = golden.description()["none_at"][0][0];
  FlatGolden flat(golden);
  AdamW optimizer(flat.shards, {});

  for (int step = 0; step < 3; ++step) {
    const auto at_step = static_cast<std::size_t>(step);
    flat.set_gradients(golden, step);
    optimizer.step(golden.description()["lr"][at_step], golden.description()["wd_group0"][at_step], 1.0);
    for (const ParameterSlot& slot : flat.slots()) {
      const at::Tensor& after = golden["after" + std::to_string(step) + "." + slot.name];
      const bool skipped = slot.name == missing && step >= 1;
      const at::Tensor expected = skipped ? by_the_book(golden, missing, step + 1) : after;
      EXPECT_LE(relative_difference(flat.parameter(slot.name), expected), 1e-6)
          << slot.name << " after step " << step;
      if (skipped) {
        EXPECT_GT(relative_difference(flat.parameter(slot.name), after), 1e-5);
      }
    }
  }
  EXPECT_EQ(optimizer.steps(), 3);
}

TEST(AdamW, ResumesFromItsStates) {
  const Golden golden("optim_adamw");
  FlatGolden whole(golden), resumed(golden);
  AdamW first(whole.shards, {}), second(resumed.shards, {});
  whole.set_gradients(golden, 0);
  first.step(1e-2, 0.1, 1.0);

  for (std::size_t i = 0; i < whole.shards.size(); ++i) resumed.shards[i].value.copy_(whole.shards[i].value);
  for (std::size_t s = 0; s < 2; ++s) {
    ASSERT_EQ(first.states()[s].name, second.states()[s].name);
    for (std::size_t i = 0; i < whole.shards.size(); ++i)
      second.states()[s].of_shard[i].copy_(first.states()[s].of_shard[i]);
  }
  second.set_steps(first.steps());
  for (auto* flat : {&whole, &resumed}) flat->set_gradients(golden, 1);
  first.step(2e-2, 0.1, 1.0);
  second.step(2e-2, 0.1, 1.0);

  for (const ParameterSlot& slot : whole.slots()) {
    EXPECT_TRUE(at::equal(whole.parameter(slot.name), resumed.parameter(slot.name))) << slot.name;
  }
}

TEST(AdamW, ClipsToTheNorm) {
  const Golden golden("optim_adamw");
  FlatGolden flat(golden);
  OptimizerConfig config;
  config.clip_norm = 0.5;
  AdamW optimizer(flat.shards, config);
  flat.set_gradients(golden, 0);
  const at::Tensor before = flat.shards[0].gradient.clone();

  optimizer.step(1e-2, 0.0, 2.0);
  EXPECT_LE(relative_difference(flat.shards[0].gradient, before * (0.5 / (2.0 + 1e-6))), 1e-6);
  flat.set_gradients(golden, 0);
  optimizer.step(1e-2, 0.0, 0.4);
  EXPECT_TRUE(at::equal(flat.shards[0].gradient, before));
}

TEST(AdamW, RefusesANormThatIsNoNumber) {
  const Golden golden("optim_adamw");
  FlatGolden flat(golden);
  AdamW optimizer(flat.shards, {});
  flat.set_gradients(golden, 0);

  EXPECT_THROW(optimizer.step(1e-2, 0.1, std::numeric_limits<double>::quiet_NaN()), NumericalError);
  EXPECT_THROW(optimizer.step(1e-2, 0.1, std::numeric_limits<double>::infinity()), NumericalError);

  EXPECT_EQ(optimizer.steps(), 0);
  for (const ParameterSlot& slot : flat.slots())
    EXPECT_TRUE(at::equal(flat.parameter(slot.name), golden["init." + slot.name]));
}

}  // namespace
}  // namespace cohort::shard
