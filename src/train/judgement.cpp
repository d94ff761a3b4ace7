#include "train/judgement.h"

#include <utility>

#include "cohort/eval/knn.h"

namespace cohort::train {

namespace {

/// Of the images of `split`, whose features are `queries`, by those of the training split, whose features are
/// `bank`.
std::vector<eval::Evaluation> judge_features(const at::Tensor& bank, const at::Tensor& queries,
                                             const data::Dataset& split, const EvaluatedSplits& splits,
                                             const RunConfig& config, comm::Communicator& ranks) {
  const eval::KnnConfig knn{.neighbours = config.eval.neighbours,
                            .leave_own_out = split.split() == splits.bank()->split()};
  return eval::evaluate_by_neighbours(bank, splits.bank()->column(splits.judged().label), queries, split,
                                      splits.judged(), knn, ranks);
}

}  // namespace

Judgement judge(nn::Encoder& model, const EvaluatedSplits& splits, const RunConfig& config,
                comm::Communicator& ranks, const eval::AskedToStop& asked_to_stop) {
  const auto predict = [&](const data::Dataset& dataset) {
    return eval::predict(model, dataset, splits.columns().context_key, config.eval, config.data.normalisation,
                         config.precision == Precision::bf16, ranks, {}, asked_to_stop);
  };
  Judgement judgement;
  const auto add = [&](const eval::Prediction& prediction, std::vector<eval::Evaluation> found) {
    for (eval::Evaluation& evaluation : found) {
      evaluation.images_per_second = prediction.images_per_second;
      judgement.evaluations.push_back(std::move(evaluation));
    }
  };
  eval::Prediction bank;
  if (splits.bank() != nullptr) {
    bank = predict(*splits.bank());
    judgement.features = eval::feature_statistics(bank.features);
  }
  if (splits.judges_training_split())
    add(bank, judge_features(bank.features, bank.features, *splits.bank(), splits, config, ranks));
  for (const EvaluatedSplit& split : splits.splits()) {
    if (!split.by_neighbours) {
      if (!splits.columns().label.empty())
        judgement.evaluations.push_back(
            eval::evaluate(model, split.dataset, splits.columns(), config.eval, config.data.normalisation,
                           config.precision == Precision::bf16, ranks, asked_to_stop));
      continue;
    }
    const eval::Prediction prediction = predict(split.dataset);
    if (!splits.columns().label.empty()) {
      comm::together(ranks, [&] {
        add(prediction, {eval::evaluation_of(prediction.logits, split.dataset, splits.columns())});
      });
    }
    add(prediction, judge_features(bank.features, prediction.features, split.dataset, splits, config, ranks));
  }
  return judgement;
}

}  // namespace cohort::train
