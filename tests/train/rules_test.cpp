// What trains how: roles of parts and rules of parameters, from the configuration to checkpoints.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/store.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/nn/batch_norm.h"
#include "cohort/nn/initialise.h"
#include "cohort/train/model.h"
#include "cohort/train/trainer.h"

#include "shard/tiny_model.h"
#include "shard/toy_graphs.h"
#include "support/ranks.h"
#include "tiny_run.h"
#include "train/engine.h"
#include "train/parameter_rules.h"

namespace cohort::train {
namespace {

using method::Part;
using shard::Strategy;
using Tensors = std::map<std::string, at::Tensor>;

constexpr int kRuleGroups = 12;
constexpr double kKept = 0.75;

/// A unit behind a batch normalisation.
struct Normed : nn::UnitModel, nn::Initialised {
  Normed() {
    layer = register_module("layer", std::make_shared<shard::ToyLayer>(1));
    add_unit(std::vector<std::shared_ptr<torch::nn::Module>>(1, layer));
    scale = register_parameter("scale", at::ones({shard::kToyWidth}));
    norm = register_module("norm", std::make_shared<nn::BatchNorm>(shard::kToyWidth));
  }
  at::Tensor forward(const at::Tensor& images) {
    begin();
    const at::Tensor normed = norm->forward(images * scale, {.training = true}, {});
    return run(0, normed, [this](const at::Tensor& of) { return layer->forward(of); });
  }
  std::optional<nn::Draw> first_values_of(const std::string& /*name*/,
                                          const torch::nn::Module& /*owner*/) const override {
    return nn::draw::uniform(0.5);
  }
  std::shared_ptr<shard::ToyLayer> layer;
  std::shared_ptr<nn::BatchNorm> norm;
  at::Tensor scale;
};

Part made_part(const std::string& name, std::shared_ptr<nn::UnitModel> model, Part::Role role,
               const std::string& follows = "") {
  Part part;
  part.name = name;
  part.model = std::move(model);
  part.role = role;
  part.follows = follows;
  return part;
}

/// A student that learns what its teacher, which follows it, and a frozen reference say of an image.
class Distillation final : public method::Method {
 public:
  std::vector<Part> parts() override {
    return {made_part("student", student, Part::Role::trained),
            made_part("teacher", teacher, Part::Role::follows, "student"),
            made_part("reference", reference, Part::Role::frozen)};
  }
  std::vector<method::NamedEncoder> encoders() override { return {}; }
  std::vector<nn::ParameterRule> rules() const override { return {{.pattern = "norm.*", .lr_scale = 10.0}}; }
  at::Tensor loss(const data::Batch& batch, const method::Step& /*step*/,
                  method::Metrics& /*metrics*/) override {
    at::Tensor target;
    {
      const at::NoGradGuard no_grad;
      target = teacher->forward(batch.views[0]) + reference->forward(batch.views[0]) + 1.0;
    }
    return at::square(student->forward(batch.views[0]) - target).sum();
  }
  double decay(const method::Step& /*step*/) const override { return kKept; }

  std::shared_ptr<Normed> student = std::make_shared<Normed>(), teacher = std::make_shared<Normed>(),
                          reference = std::make_shared<Normed>();
};

/// A run of the engine alone.
struct Distilled {
  Distilled(comm::Communicator& all_ranks, Strategy strategy) : ranks(all_ranks) {
    config.reproducible = true;
    config.sharding.strategy = strategy;
    config.optimizer.lr = 0.02;
    config.optimizer.frozen = {"layer.*.bias"};
    freeze(method, config.optimizer);
    engine.emplace(config, method, data::Signature{}, at::kCPU, 2, ranks);
  }

  void step(int number) {
    const method::Step where{.step = number, .total_steps = 10, .ranks = &ranks};
    const int groups = kRuleGroups / ranks.size();
    engine->begin_step(groups);
    method::Metrics metrics;
    for (int i = 0; i < groups; ++i) {
      data::Batch batch;
      batch.views = {shard::samples(number * kRuleGroups + ranks.rank() * groups + i)};
      method.loss(batch, where, metrics).backward();
      engine->finish_backward();
    }
    (void)engine->update(where, engine->clip_gradients());
    engine->after_step(where);
  }

  /// Of all parts, by the names in checkpoints; parameters on rank 0 alone.
  Tensors values() {
    Tensors result;
    const TrainingState state = engine->state();
    for (const TrainingState::Part& part : state.parts) {
      part.model->for_each_parameter([&](const std::string& name, const at::Tensor& values) {
        result["/" + part.name + "/" + name] = values.clone();
      });
    }
    for (const method::Buffer& buffer : state.optional) result[buffer.name] = buffer.values.clone();
    return result;
  }

  comm::Communicator& ranks;
  RunConfig config;
  Distillation method;
  std::optional<Engine> engine;
};

void expect_same_moments(const Tensors& actual, const Tensors& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, values] : actual) EXPECT_TRUE(at::equal(values, expected.at(name))) << name;
}

bool is_reference(const std::string& name) {
  return name.starts_with("/reference/") && name.find("running") == std::string::npos;
}

TEST(Roles, WhatIsFrozenStaysAndWhatFollowsMovesByItself) {
  comm::Communicator world = test::world();
  Distilled run(world, Strategy::full);
  Tensors before = run.values();
  for (int step = 0; step < 3; ++step) {
    run.step(step);
    const Tensors after = run.values();
    const std::string mean = "norm.running_mean";
    at::Tensor sum = at::zeros({shard::kToyWidth}, at::kDouble);
    for (int group = 0; group < kRuleGroups; ++group)
      sum += shard::samples(step * kRuleGroups + group).to(at::kDouble).mean(0);
    for (const std::string part : {"/teacher/", "/student/", "/reference/"}) {
      if (world.rank() != 0) break;
      const at::Tensor of_part = sum / kRuleGroups * before.at(part + "scale");
      const at::Tensor moved = 0.9 * before.at(part + mean).to(at::kDouble) + 0.1 * of_part;
      EXPECT_LE((after.at(part + mean) - moved).abs().max().item<double>(), 1e-6) << part;
    }
    for (const auto& [name, values] : after) {
      const bool stays = is_reference(name) || name == "/student/layer.linear.bias";
      EXPECT_TRUE(!stays || at::equal(values, before.at(name))) << name;
      if (!name.starts_with("/teacher/") || name.find("running") != std::string::npos) continue;
      const at::Tensor& student = after.at("/student/" + name.substr(9));
      EXPECT_LE((values - (kKept * before.at(name) + (1 - kKept) * student)).abs().max().item<double>(), 1e-6)
          << name;
    }
    if (world.rank() == 0) {
      EXPECT_FALSE(at::equal(after.at("/student/scale"), before.at("/student/scale")));
      EXPECT_EQ(at::equal(after.at("/student/" + mean), after.at("/teacher/" + mean)), step == 0);
    }
    before = after;
  }
}

// Frozen parts too: they may come from a file that is no longer there.
TEST(Roles, AllPartsAreInCheckpointsAndGoOnOnOtherRanksAndStrategies) {
  comm::Communicator world = test::world();
  const testing::SharedFolder folder(world);
  comm::Communicator part = world.split(world.rank() == 0 ? 0 : 1, "part");
  Distilled run(world, Strategy::full);
  checkpoint::Store store(folder.path() / "checkpoints", world);
  for (int step = 0; step < 2; ++step) run.step(step);
  store.save(state_to_save(run.engine->state(), world), {2, 0, 1, "", ""});
  run.step(2);
  const Tensors expected = run.values();

  if (world.rank() == 0) {
    const auto tensors = store.contents(2).tensors;
    for (const std::string name :
         {"/reference/layer.linear.weight", "/reference/norm.running_var", "/teacher/norm.running_mean",
          "/teacher/scale", "/student/layer.linear.bias", "/optimizer/exp_avg/scale"})
      EXPECT_TRUE(tensors.contains(name)) << name;
    EXPECT_FALSE(tensors.contains("/optimizer/exp_avg/layer.linear.bias"));
  }
  for (const Strategy strategy : {Strategy::replicate, Strategy::optimizer, Strategy::full}) {
    for (comm::Communicator* ranks : {&world, &part}) {
      if (kRuleGroups % ranks->size() != 0) continue;
      Distilled resumed(*ranks, strategy);
      checkpoint::Store reader(folder.path() / "checkpoints", *ranks);
      load_state(reader, 2, resumed.engine->state(), *ranks);
      resumed.step(2);
      const Tensors next = resumed.values();
      if (world.rank() == 0) expect_same_moments(next, expected);
    }
  }
  world.barrier();
}

TEST(Roles, OnePartIsTrained) {
  const auto model = std::make_shared<Normed>();
  const Part trained = made_part("a", model, Part::Role::trained),
             frozen = made_part("b", model, Part::Role::frozen);
  const std::vector<Part> none{frozen}, one{frozen, trained}, two{trained, frozen, trained};
  EXPECT_EQ(method::trained_part(one).name, "a");
  EXPECT_THROW(method::trained_part(none), Bug);
  EXPECT_THROW(method::trained_part(two), Bug);
}

TEST(Roles, RulesOfAMethodHaveParameters) {
  struct Misspelt final : method::Method {
    std::vector<Part> parts() override {
      return {made_part("model", std::make_shared<Normed>(), Part::Role::trained)};
    }
    std::vector<method::NamedEncoder> encoders() override { return {}; }
    std::vector<nn::ParameterRule> rules() const override { return {{.pattern = "nrom.*"}}; }
    at::Tensor loss(const data::Batch&, const method::Step&, method::Metrics&) override { return {}; }
  } misspelt;
  EXPECT_THROW(freeze(misspelt, {}), Bug);
}

class RuledRun : public ::testing::Test {
 protected:
  RuledRun() { testing::write_tiny_dataset(folder.path() / "tiny", world); }

  RunConfig config(const std::string& name) {
    RunConfig config = tiny_run(folder.path(), name);
    config.train.max_steps = 2;
    config.checkpoint.every_steps = 2;
    config.eval.every_epochs = 0;
    return config;
  }

  Tensors weights_after(const RunConfig& config) {
    Trainer trainer(config, world);
    EXPECT_EQ(trainer.run(), ExitCode::done);
    world.barrier();
    Tensors weights;
    for (const auto& parameter : trainer.model().named_parameters())
      weights[parameter.key()] = parameter.value().detach().clone();
    return weights;
  }

  std::string refusal(RunConfig config) {
    try {
      const Trainer trainer(config, world);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

void expect_in(const std::string& message, const std::string& text) {
  EXPECT_NE(message.find(text), std::string::npos) << "'" << text << "' is not in: " << message;
}

// One update of AdamW: x - rate (decay x + sign of the gradient). Gradients are alike, whatever is frozen.
TEST_F(RuledRun, TheConfigurationFreezesAndScales) {
  RunConfig plain = config("plain"), ruled = config("ruled");
  for (RunConfig* each : {&plain, &ruled}) {
    each->train.max_steps = 1;
    each->schedule.warmup_steps = 0;
    each->optimizer.weight_decay = 0.5;
  }
  ruled.optimizer.frozen = {"blocks.0.*", "cls_token"};
  ruled.optimizer.lr_of = {"head.*=3", "head.bias=2"};
  ruled.optimizer.no_weight_decay = {"pos_embed"};
  const auto first = build_model(plain, signature_of(plain, data::Description::read(plain.data.path)));
  const Tensors one = weights_after(plain);
  EXPECT_EQ(read_file(plain.run_dir / "log.txt").find("\n  frozen  "), std::string::npos);
  const Tensors other = weights_after(ruled);
  expect_in(read_file(ruled.run_dir / "log.txt"), "\n  frozen     3,296 of the ");

  for (const auto& parameter : first->named_parameters()) {
    const std::string& name = parameter.key();
    const at::Tensor x = parameter.value().detach(), step = one.at(name) - x, ruled_step = other.at(name) - x;
    EXPECT_GT(step.abs().max().item<double>(), 1e-3) << name;
    const bool frozen = name.starts_with("blocks.0.") || name == "cls_token";
    const double factor = frozen ? 0.0 : name == "head.bias" ? 2.0 : name.starts_with("head.") ? 3.0 : 1.0;
    const at::Tensor undecayed = name == "pos_embed" ? x * (ruled.optimizer.lr * 0.5) : at::zeros_like(x);
    EXPECT_LE((ruled_step - factor * step - undecayed).abs().max().item<double>(), frozen ? 0.0 : 3e-7)
        << name;
  }
}

TEST_F(RuledRun, PatternsWithoutParametersAreRefused) {
  RunConfig bad = config("bad");
  bad.optimizer.frozen = {"blocks.0.*", "block.1.*"};
  expect_in(refusal(bad), "no parameter is called 'block.1.*'");
  expect_in(refusal(bad), "optimizer.frozen");
  expect_in(refusal(bad), "did you mean 'blocks.1.*'?");
  bad.optimizer.frozen = {};
  bad.optimizer.lr_of = {"haed.*=10"};
  expect_in(refusal(bad), "did you mean 'head.*'?");
  bad.optimizer.lr_of = {};
  bad.optimizer.no_weight_decay = {"xyz"};
  expect_in(refusal(bad), "known: cls_token, pos_embed, blocks.*, ");
  bad.optimizer.no_weight_decay = {};
  bad.optimizer.frozen = {"*"};
  expect_in(refusal(bad), "optimizer.frozen freezes all parameters: nothing is left to train");
  bad.optimizer.frozen = {};
  bad.optimizer.lr_of = {"head.*=1001"};
  expect_in(refusal(bad), "optimizer.lr_of has 'head.*=1001', which is no PATTERN=FACTOR");
}

TEST_F(RuledRun, DoesNotGoOnWithOtherFrozenParameters) {
  RunConfig run = config("run");
  run.optimizer.frozen = {"blocks.0.*"};
  weights_after(run);
  run.train.max_steps = 3;
  run.optimizer.frozen = {"blocks.1.*"};
  expect_in(refusal(run), "optimizer.frozen: blocks.0.* -> blocks.1.*");
  run.optimizer.frozen = {"blocks.0.*"};
  run.optimizer.lr_of = {"head.*=2"};
  EXPECT_EQ(refusal(run), "");
}

TEST(Rules, TheWordEncoderFreezesAllButTheHead) {
  auto world = test::world();
  testing::SharedFolder folder{world};
  testing::write_tiny_dataset(folder.path() / "tiny", world);
  RunConfig config = tiny_run(folder.path(), "frozen");
  config.optimizer.frozen = {"encoder"};
  Trainer trainer(config, world);
  for (const auto& parameter : trainer.model().named_parameters())
    EXPECT_EQ(parameter.value().requires_grad(), parameter.key().starts_with("head.")) << parameter.key();
}

}  // namespace
}  // namespace cohort::train
