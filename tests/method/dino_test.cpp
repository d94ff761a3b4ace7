// DINO does not depend on the number of ranks: losses, gradients, metrics and centre of a divided batch
// against those of the whole, with everything that draws or communicates switched on.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/nn/dino_network.h"
#include "cohort/nn/initialise.h"

#include "../support/golden.h"
#include "../support/made_method.h"
#include "../support/ranks.h"
#include "../support/small_model.h"

namespace cohort::method {
namespace {

using testing::normal_values;
using testing::relative_difference;

constexpr std::int64_t kImages = 24;

// Two large views and three small ones, twelve groups of two images.
data::Batch global_batch() {
  const at::Tensor image = at::arange(kImages);
  data::Batch batch;
  for (std::int64_t view = 0; view < 5; ++view) {
    const std::int64_t size = view < 2 ? 8 : 4;
    batch.views.push_back(normal_values({kImages, 1, size, size}, view));
  }
  batch.group = image.div(2, "floor");
  batch.context = (batch.group % 3).unsqueeze(1);
  batch.sample = image * 7 + 3;
  return batch;
}

struct Distilled {
  at::Tensor loss;
  std::map<std::string, at::Tensor> gradients;
  Metrics metrics;
  at::Tensor centre;
};

// Biases before a batch norm change nothing: their gradients are rounding of larger terms that cancel.
bool is_rounding(const std::string& name) {
  return name == "backbone.norm.bias" || name == "head.mlp.0.bias" || name == "head.mlp.3.bias";
}

class DinoOnRanks : public ::testing::TestWithParam<nn::Scope> {
 protected:
  std::unique_ptr<Method> make() const {
    auto method =
        testing::make_method({"method=dino", "dino.prototypes=16", "dino.hidden=12", "dino.bottleneck=6",
                              "dino.batch_norm=true", "dino.student_channel_drop=0.3",
                              // Sharp distributions would enlarge the rounding of sums over ranks.
                              "dino.student_temperature=0.5", "dino.teacher_temperature_start=0.3"},
                             {.encoder = encoder, .scope = GetParam()});
    for (const Part& part : method->parts()) give_values(*part.model);
    return method;
  }

  static std::shared_ptr<nn::VisionTransformer> encoder(std::int64_t /*classes*/) {
    nn::VitShape shape = testing::small_shape({"plate"}, nn::Amortization::mean_linear_layer, {3});
    shape.dropout = 0.1;
    shape.drop_path = 0.2;
    return std::make_shared<nn::VisionTransformer>(shape, 1);
  }

  static void give_values(nn::UnitModel& network) {
    nn::initialise(network, 1);
    const at::NoGradGuard no_grad;
    // Every parameter gets a gradient well above rounding; a gain of 4 would enlarge the rounding of either
    // side, against fp64, to 8e-6.
    for (at::Tensor& parameter : network.parameters()) {
      if (parameter.dim() > 1) parameter.mul_(2.0);
    }
  }

  // The second of two steps, whose centre is that of the first.
  Distilled distil(comm::Communicator* ranks) const {
    const auto dino = make();
    const auto student = dino->parts().front().model;
    const data::Batch all = global_batch();
    const std::int64_t parts = ranks == nullptr ? 1 : ranks->size(), part = ranks ? ranks->rank() : 0;
    const data::Batch mine = data::groups_of(all, parts, part, part + 1);
    Distilled result;
    for (std::int64_t step = 0; step < 2; ++step) {
      const Step where{step, 10, 0, kImages, 9, ranks};
      student->zero_grad();
      result.metrics = {};
      dino->begin_step(mine, where);
      const at::Tensor loss = dino->loss(mine, where, result.metrics);
      loss.backward();
      dino->after_step(where);
      result.loss = loss.detach();
    }
    for (const auto& parameter : student->named_parameters()) {
      const at::Tensor& gradient = parameter.value().grad();
      result.gradients[parameter.key()] = gradient.defined() ? gradient : at::zeros_like(parameter.value());
    }
    result.centre = dino->buffers().front().values;
    return result;
  }
};

TEST_P(DinoOnRanks, SharesAddUpToTheWhole) {
  comm::Communicator world = test::world();
  const Distilled whole = distil(nullptr);
  Distilled share = distil(&world);

  EXPECT_NEAR(world.sum(share.loss.item<double>()), whole.loss.item<double>(), 1e-5);
  EXPECT_LE(relative_difference(share.centre, whole.centre), 1e-5);
  double largest = 0.0;
  for (const auto& [name, gradient] : whole.gradients)
    largest = std::max(largest, gradient.abs().max().item<double>());
  for (const auto& [name, gradient] : whole.gradients) {
    world.all_reduce(share.gradients.at(name)).wait();
    const double scale =
        is_rounding(name) ? largest : std::max(gradient.abs().max().item<double>(), 0.01 * largest);
    EXPECT_LE((share.gradients.at(name) - gradient).abs().max().item<double>() / scale, 1e-5) << name;
  }
  for (std::size_t i = 0; i < whole.metrics.entries().size(); ++i) {
    const auto &mine = share.metrics.entries()[i], &expected = whole.metrics.entries()[i];
    const double mean = world.sum(mine.sum) / static_cast<double>(world.sum(mine.count));
    EXPECT_NEAR(mean, expected.sum / static_cast<double>(expected.count), 1e-5) << mine.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Scopes, DinoOnRanks, ::testing::Values(nn::Scope::group, nn::Scope::global),
                         [](const auto& test) { return std::string(config::enum_name(test.param)); });

// A step that is skipped, or computed a second time, was never there: its logits are not in the centre.
TEST_P(DinoOnRanks, AStepThatBeginsAnewLeavesNothingInTheCentre) {
  data::Batch skipped = global_batch();
  for (at::Tensor& view : skipped.views) view = view * 2 + 1;
  const auto centre_after = [&](const std::vector<data::Batch>& before) {
    const auto dino = make();
    const Step where{0, 10, 0, kImages, 9, nullptr};
    Metrics metrics;
    for (const data::Batch& batch : before) {
      dino->begin_step(batch, where);
      (void)dino->loss(batch, where, metrics);
    }
    dino->begin_step(global_batch(), where);
    (void)dino->loss(global_batch(), where, metrics);
    dino->after_step(where);
    return dino->buffers().front().values.clone();
  };
  const at::Tensor alone = centre_after({});
  EXPECT_GT(alone.abs().max().item<double>(), 0.0);
  EXPECT_TRUE(at::equal(centre_after({skipped}), alone));
  EXPECT_TRUE(at::equal(centre_after({skipped, global_batch()}), alone));
}

TEST_P(DinoOnRanks, TheTeacherIsFrozenAndFollows) {
  const auto dino = make();
  const auto parts = dino->parts();
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_TRUE(parts[0].is_trained());
  EXPECT_EQ(parts[1].follows, "student");
  const auto teacher = std::dynamic_pointer_cast<nn::DinoNetwork>(parts[1].model);
  EXPECT_EQ(dino->encoders().front().encoder, teacher->backbone());
  EXPECT_EQ(nn::path_of(*teacher, *teacher->backbone()), "backbone.");
  // cos at step + 1 of 10: 0.996 at first, 1 at the last step.
  EXPECT_NEAR(dino->decay({.step = 0, .total_steps = 10}), 1.0 - 0.002 * (1 + std::cos(std::acos(-1.0) / 10)),
              1e-12);
  EXPECT_DOUBLE_EQ(dino->decay({.step = 9, .total_steps = 10}), 1.0);
}

TEST_P(DinoOnRanks, NeedsTwoViews) {
  const auto dino = make();
  data::Batch batch = global_batch();
  batch.views.resize(1);
  Metrics metrics;
  EXPECT_THROW(dino->loss(batch, {.total_steps = 1, .global_images = kImages}, metrics), Bug);
}

}  // namespace
}  // namespace cohort::method
