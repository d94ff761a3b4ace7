// Which attention kernel runs, and that it agrees with the CPU.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/nn/attention_backend.h"
#include "cohort/nn/vit.h"

#include "support/golden.h"
#include "support/small_model.h"

namespace cohort {
namespace {

// ViT-S/8 on 96 and 32 pixels, ViT-S/16 on 224: tokens of DINO's views.
TEST(Attention, IsFusedForTheShapesOfTraining) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t tokens : {145, 17, 197, 198}) {
      const at::Tensor heads =
          at::zeros({8, 6, tokens, 64}, at::TensorOptions(at::kCUDA).dtype(type)).requires_grad_();
      EXPECT_NE(nn::attention_backend(heads, heads, heads), "math") << type << ", " << tokens << " tokens";
    }
  }
}

TEST(Attention, GivesTheModelTheResultsOfTheCpu) {
  const at::Tensor images = testing::normal_values({4, 1, 8, 8});
  nn::Conditions conditions{.sample = at::arange(4)};
  const auto model = testing::small_model(testing::small_shape());
  const at::Tensor expected = testing::encode(*model, images, conditions).pooled.detach();
  model->to(at::kCUDA);
  conditions.sample = conditions.sample.cuda();

  const at::Tensor actual = testing::encode(*model, images.cuda(), conditions).pooled.detach().cpu();

  EXPECT_LT(testing::relative_difference(actual, expected), 1e-4);
}

}  // namespace
}  // namespace cohort
