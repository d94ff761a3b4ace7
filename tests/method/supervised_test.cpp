#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/comm/session.h"
#include "cohort/core/error.h"
#include "cohort/method/mixing.h"

#include "../support/golden.h"
#include "../support/made_method.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using testing::normal_values;
using testing::relative_difference;

constexpr std::int64_t kImages = 24, kClasses = 4;
constexpr double kSmoothing = 0.2;
const std::vector<std::string> kSmoothed{"supervised.label_smoothing=0.2"};

nn::VitShape dropping_shape() {
  nn::VitShape shape = testing::small_shape({"plate"}, nn::Amortization::mean_linear, {3});
  shape.dropout = 0.1;
  shape.drop_path = 0.2;
  shape.classes = kClasses;
  return shape;
}

// Twelve groups of two images. Rows without a label lie unevenly, so that the ranks' numbers of labels
// differ.
data::Batch global_batch() {
  const at::Tensor image = at::arange(kImages);
  data::Batch batch;
  batch.views = {normal_values({kImages, 1, 8, 8})};
  batch.group = image.div(2, "floor");
  batch.context = (batch.group % 3).unsqueeze(1);
  batch.sample = image * 7 + 3;
  batch.label = at::where(image.lt(9).logical_and(image.remainder(3).ne(0)), at::full({}, -1, at::kLong),
                          image.mul(5) % kClasses);
  return batch;
}

data::Batch share(const data::Batch& batch, std::int64_t rank, std::int64_t ranks) {
  const std::int64_t count = kImages / ranks;
  const auto part = [&](const at::Tensor& rows) { return rows.narrow(0, rank * count, count); };
  data::Batch mine;
  mine.views = {part(batch.views[0])};
  mine.context = part(batch.context);
  mine.group = part(batch.group);
  mine.label = part(batch.label);
  mine.sample = part(batch.sample);
  return mine;
}

nn::Conditions conditions_of(const data::Batch& batch, const method::Step& step, nn::Scope scope) {
  return {.context = batch.context,
          .group = batch.group,
          .sample = batch.sample,
          .seed = step.seed,
          .step = step.step,
          .training = true,
          .scope = scope};
}

// -sum_c target_c log p_c over the labelled rows, divided by their number; target: smoothing/classes
// everywhere, the rest at the label (Szegedy et al., arXiv 1512.00567, section 7).
at::Tensor loss_by_formula(const at::Tensor& logits, const at::Tensor& labels) {
  at::Tensor sum = at::zeros({}, at::kDouble);
  std::int64_t labelled = 0;
  const at::Tensor scores = logits.to(at::kDouble);
  for (std::int64_t i = 0; i < labels.size(0); ++i) {
    const auto label = labels[i].item<std::int64_t>();
    if (label < 0) continue;
    const at::Tensor log_probability = scores[i] - scores[i].exp().sum().log();
    sum = sum - (1.0 - kSmoothing) * log_probability[label] - kSmoothing / kClasses * log_probability.sum();
    ++labelled;
  }
  return sum / labelled;
}

std::unique_ptr<method::Method> make_supervised(const std::shared_ptr<nn::VisionTransformer>& model,
                                                nn::Scope scope,
                                                const std::vector<std::string>& settings = {},
                                                const std::vector<std::int64_t>& label_counts = {}) {
  return testing::make_method(settings, {.encoder = [&](std::int64_t) { return model; },
                                         .scope = scope,
                                         .classes = model->shape().classes,
                                         .label_counts = label_counts});
}

class SupervisedOnRanks : public ::testing::TestWithParam<nn::Scope> {
 protected:
  std::unique_ptr<method::Method> make() { return make_supervised(model_, GetParam(), kSmoothed); }

  // Of a step whose whole batch on this rank is `batch`.
  at::Tensor loss_of(const data::Batch& batch, method::Metrics& metrics) {
    const auto supervised = make();
    supervised->begin_step(batch, step_);
    return supervised->loss(batch, step_, metrics);
  }

  int argc_ = 0;
  char** argv_ = nullptr;
  comm::Session session_{argc_, argv_, std::chrono::seconds(60)};
  comm::Communicator world_ = session_.world();
  std::shared_ptr<nn::VisionTransformer> model_ = testing::small_model(dropping_shape(), /*gain=*/3.0);
  method::Step step_{.step = 4, .global_images = kImages, .seed = 21, .ranks = &world_};
};

TEST_P(SupervisedOnRanks, SharesAddUpToTheLossAndGradientsOfTheGlobalBatch) {
  const data::Batch batch = global_batch();
  const at::Tensor expected_loss = loss_by_formula(
      testing::encode(*model_, batch.views[0], conditions_of(batch, step_, GetParam())).logits, batch.label);
  expected_loss.backward();
  const auto expected = testing::gradients(*model_);
  for (const auto& parameter : model_->parameters()) parameter.mutable_grad().reset();

  method::Metrics metrics;
  const at::Tensor loss = loss_of(share(batch, world_.rank(), world_.size()), metrics);
  loss.backward();

  EXPECT_EQ(loss.dim(), 0);
  EXPECT_EQ(loss.scalar_type(), at::kFloat);
  EXPECT_NEAR(world_.sum(loss.item<double>()), expected_loss.item<double>(),
              1e-5 * expected_loss.item<double>());
  for (auto& [name, gradient] : testing::gradients(*model_)) {
    at::Tensor sum = gradient.contiguous();
    world_.all_reduce(sum).wait();
    EXPECT_LE(relative_difference(sum, expected.at(name)), 1e-5) << name;
  }
}

// The weighted mean of PyTorch's cross-entropy on the whole batch, which the formula above does not use.
TEST_P(SupervisedOnRanks, WeightedClassesCountByTheirWeights) {
  const std::vector<std::int64_t> counts{6, 2, 0, 4};
  const std::vector<double> weights{0.5, 1.5, 0.0, 0.75};  // 12 / (4 n)
  const data::Batch batch = global_batch();
  const at::Tensor logits =
      testing::encode(*model_, batch.views[0], conditions_of(batch, step_, GetParam())).logits;
  const double expected = at::cross_entropy_loss(logits, batch.label, at::tensor(weights, at::kFloat),
                                                 at::Reduction::Mean, -1, kSmoothing)
                              .item<double>();
  const auto supervised =
      make_supervised(model_, GetParam(), {kSmoothed.front(), "supervised.class_weights=balanced"}, counts);
  method::Metrics metrics;
  const data::Batch mine = share(batch, world_.rank(), world_.size());

  supervised->begin_step(mine, step_);
  const double loss = supervised->loss(mine, step_, metrics).item<double>();

  EXPECT_NEAR(world_.sum(loss), expected, 1e-5 * expected);
}

// Every image counts by its share for its own label and by the rest for its partner's; labels that are
// missing for nothing.
TEST_P(SupervisedOnRanks, MixedImagesCountForBothLabels) {
  const data::Batch batch = global_batch(), mine = share(batch, world_.rank(), world_.size());
  const method::Mixed mixed =
      method::mix_groups(batch.views[0], batch.group, {.mixup = 0.8, .cutmix = 1.0}, step_.seed, step_.step);
  const at::Tensor logits =
      testing::encode(*model_, mixed.images, conditions_of(batch, step_, GetParam())).logits;
  const auto sum = [&](std::int64_t row, const at::Tensor& label) {
    const bool labelled = label.item<std::int64_t>() >= 0;
    return labelled ? loss_by_formula(logits.narrow(0, row, 1), label.view({1})).item<double>() : 0.0;
  };
  double expected = 0;
  for (std::int64_t i = 0; i < kImages; ++i) {
    const double own = mixed.share[i].item<double>();
    expected += own * sum(i, batch.label[i]) + (1 - own) * sum(i, batch.label[mixed.partner[i]]);
  }
  expected /= static_cast<double>(batch.label.ge(0).sum().item<std::int64_t>());

  const auto supervised =
      make_supervised(model_, GetParam(), {kSmoothed.front(), "supervised.mixup=0.8", "supervised.cutmix=1"});
  method::Metrics metrics;
  supervised->begin_step(mine, step_);
  const double loss = supervised->loss(mine, step_, metrics).item<double>();

  EXPECT_NEAR(world_.sum(loss), expected, 1e-5 * expected);
}

TEST_P(SupervisedOnRanks, AccuracyCountsLabelledRows) {
  const data::Batch batch = global_batch(), mine = share(batch, world_.rank(), world_.size());
  const at::Tensor logits =
      testing::encode(*model_, batch.views[0], conditions_of(batch, step_, GetParam())).logits;
  const at::Tensor correct = logits.argmax(1).eq(batch.label);  // no class is -1

  method::Metrics metrics;
  loss_of(mine, metrics);

  ASSERT_EQ(metrics.entries().size(), 1U);
  const auto& entry = metrics.entries()[0];
  EXPECT_EQ(entry.name, "accuracy");
  EXPECT_EQ(world_.sum(entry.sum), correct.sum().item<double>());
  EXPECT_EQ(world_.sum(entry.count), batch.label.ge(0).sum().item<std::int64_t>());
}

TEST_P(SupervisedOnRanks, ABatchWithoutLabelsCostsNothing) {
  data::Batch batch = share(global_batch(), world_.rank(), world_.size());
  batch.label = at::full_like(batch.label, -1);
  method::Metrics metrics;
  const at::Tensor loss = loss_of(batch, metrics);
  loss.backward();
  EXPECT_EQ(loss.item<double>(), 0.0);
  for (const auto& [name, gradient] : testing::gradients(*model_)) {
    EXPECT_EQ(gradient.abs().max().item<double>(), 0.0) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Scopes, SupervisedOnRanks, ::testing::Values(nn::Scope::group, nn::Scope::global),
                         [](const auto& test) { return std::string(config::enum_name(test.param)); });

TEST(Supervised, HasOnePartCalledModelWhichIsAnEncoder) {
  const auto model = testing::small_model(dropping_shape());
  const auto parts = make_supervised(model, nn::Scope::group)->parts();
  const auto encoders = make_supervised(model, nn::Scope::group)->encoders();
  ASSERT_EQ(parts.size(), 1U);
  ASSERT_EQ(encoders.size(), 1U);
  EXPECT_EQ(encoders[0].encoder, model);
  EXPECT_EQ(encoders[0].part, "model");
  EXPECT_EQ(parts[0].name, "model");
  EXPECT_TRUE(parts[0].is_trained());
  EXPECT_EQ(parts[0].model, model);
}

TEST(Supervised, NeedsAHeadAndLabels) {
  EXPECT_THROW(make_supervised(testing::small_model(testing::small_shape()), nn::Scope::group), Bug);
  data::Batch batch = global_batch();
  batch.label = at::Tensor();
  method::Metrics metrics;
  const auto supervised = make_supervised(testing::small_model(dropping_shape()), nn::Scope::group);
  EXPECT_THROW(supervised->loss(batch, {}, metrics), Bug);  // without begin_step()
  EXPECT_THROW(supervised->begin_step(batch, {}), Bug);
}

}  // namespace
}  // namespace cohort
