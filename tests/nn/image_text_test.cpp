// The head of images and texts beside its reference numbers (golden_check, reports.*): that a group does not
// see what pads the texts of another, and that padding counts where it is said to.
#include "cohort/nn/image_text.h"

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort::nn {
namespace {

using testing::normal_values;
using testing::relative_difference;

constexpr std::int64_t kRegions = 6, kWidth = 16;

std::shared_ptr<ImageTextHead> head_of(NormPadding padding, PoolDivisor divisor) {
  auto head = std::make_shared<ImageTextHead>(ImageTextShape{.image_width = kWidth,
                                                             .text_width = kWidth,
                                                             .hidden = 20,
                                                             .outputs = 12,
                                                             .pool_divisor = divisor,
                                                             .norm_padding = padding});
  initialise(*head, 4);
  return head;
}

/// Sentences of `counts` texts, of two tokens each, one after the other.
SentenceExtents sentences(const std::vector<std::int64_t>& counts) {
  SentenceExtents all;
  std::int64_t token = 0;
  for (const std::int64_t count : counts) {
    all.emplace_back();
    for (std::int64_t m = 0; m < count; ++m, token += 2) all.back().emplace_back(token, token + 2);
  }
  return all;
}

Conditions with_groups(const std::vector<std::int64_t>& groups) {
  Conditions conditions;
  conditions.group = at::tensor(groups, at::kLong);
  conditions.training = true;
  return conditions;
}

class Groups : public ::testing::TestWithParam<std::tuple<NormPadding, PoolDivisor>> {};

// Three texts of at most 2 sentences, then three of at most 4.
TEST_P(Groups, DoNotSeeEachOther) {
  const auto [padding, divisor] = GetParam();
  const auto head = head_of(padding, divisor);
  const std::vector<std::int64_t> counts{2, 1, 2, 4, 3, 1};
  const at::Tensor regions = normal_values({6, kRegions, kWidth}, 1), tokens = normal_values({26, kWidth}, 2);
  const auto forward = [&](std::int64_t first, std::int64_t images, const std::vector<std::int64_t>& groups,
                           const std::vector<std::int64_t>& of_groups) {
    const SentenceExtents all = sentences(counts);
    const SentenceExtents own(all.begin() + first, all.begin() + first + images);
    return head->forward(region_vectors(regions.narrow(0, first, images), of_groups),
                         sentence_vectors(tokens, own, of_groups, padding, divisor), with_groups(groups));
  };
  const ImageTextOutput both = forward(0, 6, {0, 0, 0, 1, 1, 1}, {3, 3});
  for (const std::int64_t first : {0, 3}) {
    const ImageTextOutput alone = forward(first, 3, {5, 5, 5}, {3});
    const std::int64_t most = alone.sentences.size(1);
    const auto same = [&](const at::Tensor& of_both, const at::Tensor& of_one) {
      return relative_difference(of_both.narrow(0, first, 3), of_one);
    };
    EXPECT_LE(same(both.image, alone.image), 1e-5);
    EXPECT_LE(same(both.text, alone.text), 1e-5);
    EXPECT_LE(same(both.regions, alone.regions), 1e-5);
    EXPECT_LE(same(both.attended_regions, alone.attended_regions), 1e-5);
    EXPECT_LE(same(both.sentences.narrow(1, 0, most), alone.sentences), 1e-5);
    EXPECT_LE(same(both.attended_sentences.narrow(1, 0, most), alone.attended_sentences), 1e-5);
    EXPECT_LE(same(both.sentence_weights.narrow(1, 0, most), alone.sentence_weights), 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Groups,
                         ::testing::Combine(::testing::Values(NormPadding::include, NormPadding::exclude),
                                            ::testing::Values(PoolDivisor::valid, PoolDivisor::padded)));

// A sentence that is not there changes nothing where padding does not count, and something where it does.
TEST(SentenceVectors, PaddingCountsWhereItIsSaidTo) {
  const std::vector<std::int64_t> longer{2, 1, 2, 4}, same{2, 1, 2, 2};
  const auto text_of = [&](NormPadding padding, PoolDivisor divisor,
                           const std::vector<std::int64_t>& counts) {
    const auto head = head_of(padding, divisor);
    const at::Tensor tokens = normal_values({18, kWidth}, 2);
    // Running statistics: what a text is then depends on itself alone.
    return head
        ->forward(region_vectors(normal_values({4, kRegions, kWidth}, 1), {}),
                  sentence_vectors(tokens, sentences(counts), {}, padding, divisor), {})
        .text.narrow(0, 0, 3);
  };
  EXPECT_LE(relative_difference(text_of(NormPadding::exclude, PoolDivisor::valid, longer),
                                text_of(NormPadding::exclude, PoolDivisor::valid, same)),
            1e-6);
  EXPECT_GT(relative_difference(text_of(NormPadding::exclude, PoolDivisor::padded, longer),
                                text_of(NormPadding::exclude, PoolDivisor::padded, same)),
            1e-4);
}

// As ConVIRT has it, the maximum over all tokens of a text but those at its ends.
TEST(ImageTextHead, WithoutAttentionATextIsTheMaximumOfItsTokens) {
  ImageTextHead head({.image_width = kWidth,
                      .text_width = kWidth,
                      .hidden = 20,
                      .outputs = 12,
                      .image_attention = false,
                      .text_attention = false});
  initialise(head, 4);
  const at::Tensor regions = normal_values({3, kRegions, kWidth}, 1), tokens = normal_values({12, kWidth}, 2);
  const ImageTextOutput made = head.forward(
      region_vectors(regions, {}),
      sentence_vectors(tokens, sentences({1, 3, 2}), {}, NormPadding::include, PoolDivisor::valid), {});
  const at::Tensor expected = at::stack(
      {tokens.narrow(0, 0, 2).amax(0), tokens.narrow(0, 2, 6).amax(0), tokens.narrow(0, 8, 4).amax(0)});
  EXPECT_TRUE(at::equal(made.pooled_text, expected));
  EXPECT_LE(relative_difference(made.pooled_image, regions.mean(1)), 1e-6);
}

TEST(ImageTextModel, RefusesHeadsThatDoNotDivideAWidth) {
  const auto text = std::make_shared<Bert>(
      BertShape{.vocabulary = 9, .positions = 8, .width = 20, .depth = 1, .heads = 2, .hidden = 8});
  const auto encoder = std::make_shared<VisionTransformer>(testing::small_shape(), 1);
  EXPECT_THROW(ImageTextModel(encoder, text, {}), UsageError);
  EXPECT_NO_THROW(ImageTextModel(encoder, text, {.text_attention = false, .local = false}));
}

}  // namespace
}  // namespace cohort::nn
