// Weights of compact and pyramid transformers: published names, and what is adapted.
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/eval/weights.h"
#include "cohort/nn/cct.h"
#include "cohort/nn/csit.h"
#include "cohort/nn/position.h"
#include "cohort/nn/pvtv2.h"

#include "support/golden.h"

namespace cohort::eval {
namespace {

using Missing = std::vector<std::string>;

nn::CctShape small_cct(std::int64_t channels, std::int64_t side) {
  return {.channels = channels,
          .height = side,
          .width = side,
          .kernel = 3,
          .convolutions = 1,
          .planes = 6,
          .embed_dim = 16,
          .depth = 1,
          .heads = 2,
          .hidden = 16,
          .classes = 3};
}

nn::CsitShape small_csit(std::int64_t classes, nn::CsitPooling pooling) {
  return {.channels = 3,
          .height = 32,
          .width = 32,
          .planes = 4,
          .embed_dim = 12,
          .depth = 1,
          .heads = 2,
          .classes = classes,
          .pooling = pooling};
}

/// Under the names of a golden file all that a model has, and nothing else; both in the same order.
void expect_all_of_golden(const nn::Encoder& model, const std::string& file) {
  const testing::Golden golden(file);
  checkpoint::Safetensors weights;
  for (const std::string& name : golden.names("param."))
    weights.tensors.emplace_back(name, golden["param." + name]);
  const auto fitted = fitted_weights(model, weights, "file");
  EXPECT_TRUE(fitted.missing.empty() && fitted.skipped.empty() && fitted.adapted.empty());
  EXPECT_EQ(fitted.values.size(), weights.tensors.size());
}

TEST(CompactWeights, CompactTransformersHaveTheirPublishedNames) {
  nn::CctShape shape = small_cct(3, 32);
  shape.kernel = 7;
  shape.convolutions = shape.depth = 2;
  shape.hidden = 48;
  shape.classes = 5;
  expect_all_of_golden(nn::Cct(shape), "cct_7x2");
  nn::CsitShape csit = small_csit(5, nn::CsitPooling::sequence);
  csit.is_fine = true;
  csit.depth = 2;
  expect_all_of_golden(nn::Csit(csit), "csit_seqpool");
}

TEST(CompactWeights, PyramidTransformersHaveTheirPublishedNames) {
  nn::PvtShape shape{.widths = {4, 8, 12, 16}, .heads = {1, 2, 3, 4}, .depths = {1, 2, 1, 1}, .classes = 5};
  expect_all_of_golden(nn::PvtV2(shape), "pvtv2_mini");
  const nn::PvtV2 rgb(shape, 1);
  shape.channels = 1;
  EXPECT_EQ(fitted_weights(nn::PvtV2(shape), weights_of(rgb), "file").adapted,
            Missing{"patch_embed1.proj.weight: 3 channels -> 1"});
}

TEST(CompactWeights, CompactTransformersAreAdaptedToChannelsAndSizes) {
  const nn::Cct from(small_cct(3, 16), 1), to(small_cct(1, 24));
  const auto fitted = fitted_weights(to, weights_of(from), "file");
  EXPECT_EQ(fitted.adapted, (Missing{"tokenizer.conv_layers.0.0.weight: 3 channels -> 1",
                                     "classifier.positional_emb: 8 x 8 patches -> 12 x 12, bicubic"}));
  const at::Tensor table = from.named_parameters()["classifier.positional_emb"];
  EXPECT_TRUE(
      at::equal(fitted.values.at("classifier.positional_emb"),
                nn::interpolate_positions(table, 0, {8, 8}, {12, 12}, nn::PositionInterpolation::plain)));
}

TEST(CompactWeights, TheTwoTokensOfCsitKeepTheirPositions) {
  const nn::Csit from(small_csit(3, nn::CsitPooling::tokens), 1);
  nn::CsitShape larger = small_csit(3, nn::CsitPooling::tokens);
  larger.height = 48;
  const auto fitted = fitted_weights(nn::Csit(larger), weights_of(from), "file");
  EXPECT_TRUE(at::equal(fitted.values.at("pos_embed"),
                        nn::interpolate_positions(from.named_parameters()["pos_embed"], 2, {2, 2}, {3, 2},
                                                  nn::PositionInterpolation::plain)));
}

// Sines are stored by the published code, and no parameter of ours.
TEST(CompactWeights, StoredSinesOfACompactTransformerAreSkipped) {
  nn::CctShape sines = small_cct(3, 16);
  sines.positions = nn::CctPositions::sinusoidal;
  nn::Cct to(sines, 2);
  EXPECT_TRUE(load_weights(to, weights_of(nn::Cct(small_cct(3, 16), 1)), "file"));
}

// What pre-training alone needs is left out, its heads too, even where their shapes would fit.
TEST(CompactWeights, APretrainedCsitComesWithoutItsHeads) {
  const nn::Csit from(small_csit(4, nn::CsitPooling::tokens), 1);
  checkpoint::Safetensors file = weights_of(from);
  for (const char* name : {"rot_w", "contrastive_w", "recons_w", "last_fc.weight", "last_fc.bias",
                           "convTrans.weight", "convTrans.bias", "pre_logits_rot.fc.weight"})
    file.tensors.emplace_back(name, at::zeros({1}));
  const nn::Csit same(small_csit(4, nn::CsitPooling::tokens)),
      sequence(small_csit(7, nn::CsitPooling::sequence));

  const auto fitted = fitted_weights(same, file, "file"),
             by_sequence = fitted_weights(sequence, file, "file");

  EXPECT_EQ(fitted.missing, (Missing{"rot_head.weight", "rot_head.bias", "contrastive_head.weight",
                                     "contrastive_head.bias"}));
  EXPECT_EQ(by_sequence.missing,
            (Missing{"attention_pool.weight", "attention_pool.bias", "last_fc.weight", "last_fc.bias"}));
  EXPECT_TRUE(at::equal(fitted.values.at("rot_token"), from.named_parameters()["rot_token"]));
}

// One that was fine-tuned keeps both heads; another number of classes neither.
TEST(CompactWeights, BothHeadsOfCsitComeOrGoTogether) {
  const nn::Csit from(small_csit(4, nn::CsitPooling::tokens), 1),
      same(small_csit(4, nn::CsitPooling::tokens)), other(small_csit(5, nn::CsitPooling::tokens));
  EXPECT_TRUE(fitted_weights(same, weights_of(from), "file").missing.empty());
  EXPECT_EQ(fitted_weights(other, weights_of(from), "file").missing.size(), 4U);
}

}  // namespace
}  // namespace cohort::eval
