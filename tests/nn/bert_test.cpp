// BERT beside its reference numbers (golden_check, reports.bert): that a text does not see the others of a
// batch, which random numbers are its own, and what published files are read as.
#include "cohort/nn/bert.h"

#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort::nn {
namespace {

using Texts = std::vector<std::vector<std::int64_t>>;
using testing::relative_difference;

BertShape small_bert() {
  return {.vocabulary = 20, .positions = 9, .width = 16, .depth = 2, .heads = 4, .hidden = 24};
}

std::shared_ptr<Bert> bert(const BertShape& shape = small_bert()) {
  auto model = std::make_shared<Bert>(shape);
  initialise(*model, 5);
  const at::NoGradGuard no_grad;
  for (at::Tensor& parameter : model->parameters()) {
    if (parameter.dim() > 1) parameter.mul_(8);
  }
  return model;
}

Conditions of_samples(std::vector<std::int64_t> samples, bool training) {
  Conditions conditions;
  conditions.sample = at::tensor(samples, at::kLong);
  conditions.seed = 3;
  conditions.step = 7;
  conditions.training = training;
  return conditions;
}

// Two of one length, apart from each other; longer and shorter ones.
const Texts kTexts{{2, 5, 6, 3}, {2, 7, 8, 9, 10, 11, 3}, {2, 3}, {2, 12, 13, 3}, {2, 1, 3}};
const std::vector<std::int64_t> kSamples{4, 9, 2, 11, 6};

at::Tensor tokens_of(const at::Tensor& rows, const PackedTexts& packed, std::size_t text) {
  return rows.narrow(0, packed.begins[text], std::ssize(kTexts[text]));
}

TEST(PackedTexts, HaveNoPaddingAndStandByLength) {
  const PackedTexts packed = nn::packed(kTexts, at::kCPU);
  std::vector<std::int64_t> lengths;
  for (const PackedTexts::Run& run : packed.runs) lengths.push_back(run.length);
  EXPECT_EQ(packed.tokens.size(0), 20);
  EXPECT_EQ(lengths, (std::vector<std::int64_t>{2, 3, 4, 7}));
  EXPECT_TRUE(at::equal(packed.runs[2].texts, at::tensor({0, 3}, at::kLong)));
  EXPECT_EQ(packed.begins, (std::vector<std::int64_t>{5, 13, 0, 9, 2}));
  for (std::size_t i = 0; i < kTexts.size(); ++i) {
    EXPECT_TRUE(at::equal(tokens_of(packed.tokens, packed, i), at::tensor(kTexts[i], at::kLong))) << i;
    EXPECT_TRUE(at::equal(tokens_of(packed.positions, packed, i), at::arange(std::ssize(kTexts[i])))) << i;
  }
}

class TextAlone : public ::testing::TestWithParam<bool> {};

// Dropout included: its numbers are those of the sample.
TEST_P(TextAlone, IsWhatItIsAmongOthers) {
  const auto model = bert();
  const PackedTexts all = packed(kTexts, at::kCPU);
  const at::Tensor rows = model->forward(all, of_samples(kSamples, GetParam()));
  for (std::size_t i = 0; i < kTexts.size(); ++i) {
    const Texts one{kTexts[i]};
    const at::Tensor alone = model->forward(packed(one, at::kCPU), of_samples({kSamples[i]}, GetParam()));
    EXPECT_LE(relative_difference(tokens_of(rows, all, i), alone), 2e-6) << i;
  }
}
INSTANTIATE_TEST_SUITE_P(All, TextAlone, ::testing::Bool(), [](const auto& test) {
  return std::string(test.param ? "WithDropout" : "WithoutDropout");
});

// Each of the five places of dropout of a layer and the embeddings, alone, changes what comes out.
TEST(Bert, DropoutIsOfTheSampleAndOfItsPlace) {
  const Texts twice{{2, 5, 6, 3}, {2, 5, 6, 3}};
  const PackedTexts both = packed(twice, at::kCPU);
  for (const bool of_attention : {false, true}) {
    BertShape shape = small_bert();
    (of_attention ? shape.dropout : shape.attention_dropout) = 0;
    const auto model = bert(shape);
    const auto halves = [&](std::vector<std::int64_t> samples) {
      return model->forward(both, of_samples(std::move(samples), true)).chunk(2);
    };
    EXPECT_TRUE(at::allclose(halves({4, 4})[0], halves({4, 4})[1])) << of_attention;
    EXPECT_FALSE(at::allclose(halves({4, 5})[0], halves({4, 5})[1])) << of_attention;
    const at::Tensor without = model->forward(both, of_samples({4, 4}, false)).chunk(2)[0];
    EXPECT_FALSE(at::allclose(halves({4, 4})[0], without)) << of_attention;
  }
}

// As Bio_ClinicalBERT has it: a prefix, gamma and beta, heads that are of no use here.
NamedTensors published(const Bert& model) {
  NamedTensors file{{"cls.predictions.bias", at::zeros({20})},
                    {"bert.pooler.dense.weight", at::zeros({16, 16})},
                    {"bert.embeddings.position_ids", at::arange(9)}};
  for (auto [name, values] : named_values(model)) {
    const std::size_t norm = name.find("LayerNorm.");
    if (norm != std::string::npos)
      name = name.substr(0, norm) + (name.ends_with("weight") ? "LayerNorm.gamma" : "LayerNorm.beta");
    file.emplace_back("bert." + name, values);
  }
  return file;
}

TEST(Bert, ReadsPublishedFiles) {
  const auto stored = bert();
  const auto fitted =
      std::make_shared<std::map<std::string, at::Tensor>>(fitted_bert(*stored, published(*stored), "file"));
  EXPECT_EQ(fitted->size(), stored->named_parameters().size());
  Bert model(small_bert());
  model.start_from([fitted](const std::string& name) { return fitted->at(name); });
  initialise(model, 99);
  const auto expected = stored->named_parameters();
  for (const auto& parameter : model.named_parameters())
    EXPECT_TRUE(at::equal(parameter.value(), expected[parameter.key()])) << parameter.key();
}

TEST(Bert, SaysWhatAFileLacks) {
  const auto stored = bert();
  NamedTensors file = published(*stored);
  std::erase_if(file, [](const auto& entry) { return entry.first.ends_with("query.weight"); });
  BertShape other = small_bert();
  other.vocabulary = 21;
  try {
    (void)fitted_bert(Bert(other), file, "bert.safetensors");
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_EQ(error.text().where, "bert.safetensors");
    EXPECT_NE(error.text().what.find("missing: encoder.layer.0.attention.self.query.weight"),
              std::string::npos)
        << error.text().what;
    EXPECT_NE(error.text().what.find("word_embeddings.weight [20, 16], the model needs [21, 16]"),
              std::string::npos)
        << error.text().what;
  }
}

TEST(Bert, LayersStandByDepth) {
  const auto model = bert();
  EXPECT_EQ(model->unit_count(), 3U);
  EXPECT_LT(model->layer_of("embeddings.word_embeddings.weight"),
            model->layer_of("encoder.layer.0.output.dense.weight"));
  EXPECT_LT(model->layer_of("encoder.layer.0.output.dense.weight"),
            model->layer_of("encoder.layer.1.output.dense.weight"));
  EXPECT_LT(model->layer_of("encoder.layer.1.output.dense.weight"), model->last_layer());
}

}  // namespace
}  // namespace cohort::nn
