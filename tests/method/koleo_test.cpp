// KoLeo against numbers of its formula, and what of it DINO's loss has on any number of ranks and parts.
#include "cohort/method/koleo.h"

#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/unit_model.h"

#include "../support/golden.h"
#include "../support/made_method.h"
#include "../support/ranks.h"
#include "../support/small_model.h"

namespace cohort::method {
namespace {

using testing::Golden;
using testing::normal_values;
using testing::relative_difference;

void expect_koleo(const at::Tensor& group, const std::string& name) {
  const Golden golden("koleo");
  const at::Tensor features = golden["in.features"].to(at::kDouble).requires_grad_();
  const at::Tensor loss = koleo_sum(features, group);
  loss.backward();
  EXPECT_LE(relative_difference(loss.view(1), golden["out.loss_" + name]), 1e-12);
  EXPECT_LE(relative_difference(features.grad(), golden["out.grad_" + name]), 1e-10);
}

TEST(Koleo, EqualsTheReference) {
  expect_koleo({}, "all");
}

TEST(Koleo, LooksAtImagesOfTheGroupAlone) {
  expect_koleo(Golden("koleo")["in.group"], "group");
}

TEST(Koleo, AnImageThatIsAloneCountsNothing) {
  const at::Tensor features = normal_values({2, 1, 4}, 3).requires_grad_();
  const at::Tensor loss = koleo_sum(features);
  loss.backward();
  EXPECT_EQ(loss.item<double>(), 0.0);
  EXPECT_EQ(features.grad().abs().max().item<double>(), 0.0);
}

constexpr std::int64_t kKoleoImages = 48;

// Two large views and a small one, 24 groups of two images.
data::Batch images_to_spread() {
  const at::Tensor image = at::arange(kKoleoImages);
  data::Batch batch;
  for (std::int64_t view = 0; view < 3; ++view) {
    const std::int64_t size = view < 2 ? 8 : 4;
    batch.views.push_back(normal_values({kKoleoImages, 1, size, size}, view));
  }
  batch.group = image.div(2, "floor");
  batch.context = (batch.group % 3).unsqueeze(1);
  batch.sample = image * 7 + 3;
  return batch;
}

std::shared_ptr<nn::VisionTransformer> encoder_to_spread(std::int64_t /*classes*/) {
  nn::VitShape shape = testing::small_shape({"plate"}, nn::Amortization::mean_linear_layer, {3});
  shape.dropout = 0.1;
  shape.drop_path = 0.2;
  return std::make_shared<nn::VisionTransformer>(shape, 1);
}

std::unique_ptr<Method> spreading(const std::vector<std::string>& options) {
  std::vector<std::string> all{"method=dino", "dino.prototypes=16", "dino.hidden=12", "dino.bottleneck=6"};
  all.insert(all.end(), options.begin(), options.end());
  auto dino = testing::make_method(all, {.encoder = encoder_to_spread});
  for (const Part& part : dino->parts()) nn::initialise(*part.model, 1);
  return dino;
}

struct Spread {
  double loss = 0;      // of all ranks
  double koleo = 0;     // the metric
  at::Tensor gradient;  // of the last norm's weight, of all ranks
};

// `batches`: those of this rank, one after the other.
Spread spread(const std::vector<std::string>& options, const std::vector<data::Batch>& batches,
              comm::Communicator* ranks) {
  const auto dino = spreading(options);
  const Step step{0, 10, 0, kKoleoImages, 9, ranks};
  Metrics metrics;
  Spread result;
  dino->prepare(batches, step);
  for (const data::Batch& batch : batches) {
    const at::Tensor loss = dino->loss(batch, step, metrics);
    loss.backward();
    result.loss += loss.item<double>();
  }
  result.gradient = dino->parts().front().model->named_parameters()["backbone.norm.weight"].grad();
  for (const Metrics::Entry& entry : metrics.entries()) {
    if (entry.name == "koleo") result.koleo = entry.sum / static_cast<double>(entry.count);
  }
  if (ranks == nullptr) return result;
  result.loss = ranks->sum(result.loss);
  ranks->all_reduce(result.gradient).wait();
  return result;
}

// This rank's part of the images, and that in `count` parts.
std::vector<data::Batch> parts_of_rank(comm::Communicator& world, std::int64_t count) {
  const std::int64_t parts = world.size() * count;
  std::vector<data::Batch> result;
  for (std::int64_t part = world.rank() * count; part < (world.rank() + 1) * count; ++part)
    result.push_back(data::groups_of(images_to_spread(), parts, part, part + 1));
  return result;
}

class KoleoOnRanks : public ::testing::TestWithParam<std::string> {};

TEST_P(KoleoOnRanks, GivesTheSameHoweverTheStepIsDivided) {
  comm::Communicator world = test::world();
  const std::vector<std::string> options{"dino.koleo_weight=0.5", "dino.koleo_scope=" + GetParam()};
  const Spread whole = spread(options, {images_to_spread()}, nullptr);
  for (const std::int64_t parts : {1, 2}) {
    const Spread divided = spread(options, parts_of_rank(world, parts), &world);
    EXPECT_NEAR(divided.loss, whole.loss, 1e-5) << parts;
    EXPECT_LE(relative_difference(divided.gradient, whole.gradient), 1e-5) << parts;
    EXPECT_NEAR(world.sum(divided.koleo) / world.size(), whole.koleo, 1e-5) << parts;
  }
}

INSTANTIATE_TEST_SUITE_P(Scopes, KoleoOnRanks, ::testing::Values("global", "group"),
                         [](const auto& test) { return test.param; });

// The sum over both large views, mean over images, times the weight.
TEST(Koleo, IsAddedToTheLossWithItsWeight) {
  const std::vector<data::Batch> all{images_to_spread()};
  const double plain = spread({"dino.koleo_weight=0", "dino.koleo_scope=group"}, all, nullptr).loss;
  EXPECT_EQ(plain, spread({}, all, nullptr).loss);
  for (const std::string scope : {"global", "group", "micro_batch"}) {
    const Spread with = spread({"dino.koleo_weight=0.5", "dino.koleo_scope=" + scope}, all, nullptr);
    EXPECT_NE(with.koleo, 0.0) << scope;
    EXPECT_NEAR(with.loss, plain + 0.5 * with.koleo, 1e-5) << scope;
  }
}

TEST(Koleo, OfImagesOneByOneHasNoNeighbours) {
  testing::ChosenMethod chosen;
  testing::set_options(chosen, {"method=dino", "dino.koleo_weight=0.1", "dino.koleo_scope=group"});
  const Entry& entry = chosen.choice.entry();
  EXPECT_THROW(entry.check(chosen.choice.options(), {.images_per_group = 1}, "run.yaml"), UsageError);
  EXPECT_NO_THROW(entry.check(chosen.choice.options(), {.images_per_group = 2}, "run.yaml"));
}

}  // namespace
}  // namespace cohort::method
