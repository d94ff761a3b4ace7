// The steps of a vision transformer: together the whole pass, with some patches alone, and as maps.
#include <cstdint>
#include <memory>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/nn/position.h"
#include "cohort/nn/vit.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using nn::Amortization;
using testing::conditions_for;
using testing::indices;
using testing::normal_values;
using testing::relative_difference;
using testing::small_model;
using testing::small_shape;

nn::VitShape shape_in_steps(nn::Family family) {
  nn::VitShape shape = small_shape({"plate"}, Amortization::mean_linear_layer, {2});
  shape.family = family;
  shape.channels = 3;
  shape.height = 8;
  shape.width = 16;
  shape.classes = 3;
  shape.dropout = shape.drop_path = 0.2;
  return shape;
}

at::Tensor all_patches(std::int64_t images, std::int64_t count) {
  return at::arange(count).expand({images, count}).contiguous();
}

class InSteps : public ::testing::TestWithParam<nn::Family> {
 protected:
  InSteps() { conditions_.training = true; }

  at::Tensor tokens(const at::Tensor& images, const at::Tensor& kept) {
    const nn::Sequence sequence = model_->embed(images, conditions_, kept);
    nn::Sequence middle = sequence;
    middle.tokens = model_->blocks(sequence, 0, 1, conditions_);
    return model_->blocks(middle, 1, 3, conditions_);
  }

  std::shared_ptr<nn::VisionTransformer> model_ = small_model(shape_in_steps(GetParam()), 4.0);
  nn::Conditions conditions_ = conditions_for(4, 1);
  at::Tensor images_ = normal_values({4, 3, 8, 16});
  std::int64_t patches_ = model_->token_count(3, 8, 16);
};

TEST_P(InSteps, StepsAreTheWholePassToTheBit) {
  const auto whole = testing::encode(*model_, images_, conditions_);
  for (const at::Tensor& kept : {at::Tensor(), all_patches(4, patches_)}) {
    const auto output = model_->finish(tokens(images_, kept), testing::kAll);
    EXPECT_TRUE(at::equal(output.tokens, whole.tokens));
    EXPECT_TRUE(at::equal(output.pooled, whole.pooled));
    EXPECT_TRUE(at::equal(output.logits, whole.logits));
  }
}

TEST_P(InSteps, WhatIsNotKeptChangesNothing) {
  const at::Tensor kept = indices({7, 0, 3, 3, 1, 6, 5, 2}).view({4, 2}) + (patches_ - 8);
  const at::Tensor before = tokens(images_, kept);
  ASSERT_EQ(before.sizes(), at::IntArrayRef({4, 2 + 2, 24}));
  at::Tensor changed = images_.clone();
  changed[0].slice(1, 0, 4).slice(2, 4, 8).add_(1.0);  // patch 1 of the first image, which keeps 7 and 0

  EXPECT_TRUE(at::equal(tokens(changed, kept), before));
  changed[0].slice(1, 4, 8).slice(2, 12, 16).add_(1.0);  // patch 7
  const at::Tensor after = tokens(changed, kept).ne(before).flatten(1).any(1);
  EXPECT_TRUE(at::equal(after, indices({1, 0, 1, 0}).to(at::kBool))) << "images of one context";
}

TEST_P(InSteps, KeptPatchesHaveTheirOwnPositions) {
  const nn::Sequence all = model_->embed(images_, conditions_for(4, 1));
  const at::Tensor kept = indices({7, 2, 4}).expand({4, 3});

  const nn::Sequence some = model_->embed(images_, conditions_for(4, 1), kept);

  EXPECT_LE(relative_difference(some.tokens.narrow(1, 2, 3), all.tokens.index_select(1, indices({9, 4, 6}))),
            1e-6);
  EXPECT_EQ(some.grid, (nn::PatchGrid{2, 4}));
}

TEST_P(InSteps, MapsAreThePatchesInTheirPlaces) {
  const auto output = model_->encode(images_, conditions_for(4, 1), nn::Encoder::maps | nn::Encoder::tokens);
  ASSERT_EQ(output.maps.size(), 1U);
  EXPECT_EQ(output.maps[0].stride, 4);
  EXPECT_EQ(output.maps[0].values.sizes(), at::IntArrayRef({4, 24, 2, 4}));
  at::Tensor expected = output.tokens.select(1, 2 + 6);  // row 1, column 2
  if (GetParam() == nn::Family::channelvit)
    expected = (expected + output.tokens.select(1, 2 + 14) + output.tokens.select(1, 2 + 22)) / 3;
  EXPECT_LE(relative_difference(output.maps[0].values.select(2, 1).select(2, 2), expected), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Families, InSteps, ::testing::Values(nn::Family::vit, nn::Family::channelvit),
                         [](const auto& test) {
                           return test.param == nn::Family::vit ? "vit" : "channelvit";
                         });

}  // namespace
}  // namespace cohort
