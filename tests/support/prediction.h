#pragma once
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/eval/predict.h"

namespace cohort::testing {

/// What a model says of all images, in dataset order: eval::PassAnswers of all passes together.
struct Prediction {
  at::Tensor logits, features, patches, context;
};

/// Collective. On every rank.
inline Prediction predict(nn::Encoder& model, const data::Dataset& dataset, const std::string& group_by,
                          const eval::EvalConfig& config, augment::Normalisation normalisation, bool bf16,
                          comm::Communicator& ranks, const eval::FeatureChoice& choice = {}) {
  using Member = at::Tensor eval::PassAnswers::*;
  std::vector<eval::PassAnswers> mine;
  const auto take = [&](eval::PassAnswers answers) { mine.push_back(std::move(answers)); };
  (void)eval::predict_passes(model, dataset, group_by, config, normalisation, bf16, ranks, {take}, choice);
  std::vector<at::Tensor> rows;
  for (const eval::PassAnswers& answers : mine) rows.push_back(answers.rows);
  const at::Tensor order = ranks.gather_rows(rows.empty() ? at::empty({0}, at::kLong) : at::cat(rows));
  const auto whole = [&](Member member, std::vector<std::int64_t> shape) {
    std::vector<at::Tensor> parts{at::empty(shape)};  // of ranks without any
    for (const eval::PassAnswers& answers : mine) parts.push_back(answers.*member);
    const at::Tensor all = ranks.gather_rows(at::cat(parts).contiguous());
    return at::empty_like(all).index_copy_(0, order, all);
  };
  const nn::EncoderTraits& traits = model.traits();
  Prediction prediction;
  prediction.features = whole(&eval::PassAnswers::features, {0, traits.width});
  if (choice.patches) {
    const data::ImageLayout& images = dataset.description().images;
    const std::int64_t tokens = model.token_count(images.channels, images.height, images.width);
    prediction.patches = whole(&eval::PassAnswers::patches, {0, tokens, traits.width});
  }
  if (traits.classes > 0) prediction.logits = whole(&eval::PassAnswers::logits, {0, traits.classes});
  const auto keys = static_cast<std::int64_t>(traits.context_keys.size());
  if (keys > 0) prediction.context = whole(&eval::PassAnswers::context, {0, keys, traits.width});
  return prediction;
}

}  // namespace cohort::testing
