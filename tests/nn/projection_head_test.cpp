#include "cohort/nn/projection_head.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>

#include "cohort/nn/initialise.h"

namespace cohort {
namespace {

at::Tensor features(std::int64_t images, double phase = 0.0) {
  return at::sin(at::arange(images * 6) * 1.3 + phase).view({images, 6});
}

nn::Conditions training(std::vector<std::int64_t> group) {
  nn::Conditions conditions;
  conditions.training = true;
  conditions.group = at::tensor(group);
  return conditions;
}

std::vector<std::string> names(const torch::nn::Module& module) {
  std::vector<std::string> found;
  for (const auto& parameter : module.named_parameters()) found.push_back(parameter.key());
  return found;
}

TEST(ProjectionHead, HasTheNamesOfPublishedOnes) {
  const nn::ProjectionHead byol({.width = 6, .hidden = 8, .outputs = 4});
  EXPECT_EQ(names(byol),
            (std::vector<std::string>{"0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"}));
  const nn::ProjectionHead simclr(
      {.width = 6, .hidden = 8, .outputs = 4, .bias = nn::HeadBias::none, .batch_norm = nn::HeadNorm::none});
  EXPECT_EQ(names(simclr), (std::vector<std::string>{"0.weight", "2.weight"}));
  const nn::ProjectionHead barlow(
      {.width = 6, .hidden = 8, .outputs = 4, .layers = 3, .bias = nn::HeadBias::none});
  EXPECT_EQ(names(barlow), (std::vector<std::string>{"0.weight", "1.weight", "1.bias", "3.weight", "4.weight",
                                                     "4.bias", "6.weight"}));
  const nn::ProjectionHead siamese(
      {.width = 6, .hidden = 8, .outputs = 4, .bias = nn::HeadBias::outputs, .normalises_outputs = true});
  EXPECT_EQ(names(siamese),
            (std::vector<std::string>{"0.weight", "1.weight", "1.bias", "3.weight", "3.bias"}));
  EXPECT_TRUE(siamese.named_buffers().contains("4.running_mean"));
}

// A group's images come out as if they were alone, wherever they stand.
TEST(ProjectionHead, NormalisesEachGroupByItself) {
  nn::ProjectionHead head({.width = 6, .hidden = 8, .outputs = 4});
  nn::initialise(head, 3);
  const at::Tensor x = features(5), mixed = head.forward(x, training({7, 9, 7, 9, 7}));
  const at::Tensor of_seven = at::tensor({0, 2, 4}, at::kLong), of_nine = at::tensor({1, 3}, at::kLong);
  for (const at::Tensor& rows : {of_seven, of_nine}) {
    const at::Tensor alone =
        head.forward(x.index_select(0, rows), training(std::vector<std::int64_t>(rows.size(0), 0)));
    EXPECT_TRUE(at::allclose(mixed.index_select(0, rows), alone, 1e-6, 1e-7));
  }
}

TEST(BatchNorm, RunningStatisticsMoveOnceForEachPass) {
  nn::BatchNorm ours(6);
  torch::nn::BatchNorm1d theirs(6);
  for (const std::int64_t pass : {1, 0}) {  // whatever comes first
    nn::Conditions conditions = training({0, 0, 0, 0});
    conditions.pass = pass;
    ours.forward(features(4, static_cast<double>(pass)), conditions, {});
  }
  for (const double pass : {0.0, 1.0}) theirs(features(4, pass));
  ours.finish_step();
  for (const char* name : {"running_mean", "running_var"})
    EXPECT_TRUE(at::allclose(ours.named_buffers()[name], theirs->named_buffers()[name], 1e-6, 1e-7)) << name;
}

}  // namespace
}  // namespace cohort
