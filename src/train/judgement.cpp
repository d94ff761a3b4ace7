#include "train/judgement.h"

#include <utility>

#include "cohort/eval/knn.h"

namespace cohort::train {

Judgement judge(nn::VisionTransformer& model, const EvaluatedSplits& splits, const RunConfig& config,
                comm::Communicator& ranks, const eval::AskedToStop& asked_to_stop) {
  const auto predict = [&](const data::Dataset& dataset) {
    return eval::predict(model, dataset, splits.columns().context_key, config.eval, config.data.normalisation,
                         config.precision == Precision::bf16, ranks, {}, asked_to_stop);
  };
  Judgement judgement;
  at::Tensor bank;
  if (splits.bank() != nullptr) {
    bank = predict(*splits.bank()).features;
    judgement.features = eval::feature_statistics(bank);
  }
  for (const data::Dataset& split : splits.datasets()) {
    const eval::Prediction prediction = predict(split);
    std::vector<eval::Evaluation> found;
    if (prediction.logits.defined()) {
      comm::together(
          ranks, [&] { found.push_back(eval::evaluation_of(prediction.logits, split, splits.columns())); });
    }
    if (bank.defined()) {
      const eval::KnnConfig knn{.neighbours = config.eval.neighbours};
      for (eval::Evaluation& evaluation :
           eval::evaluate_by_neighbours(bank, splits.bank()->labels(splits.columns().label),
                                        prediction.features, split, splits.columns(), knn, ranks))
        found.push_back(std::move(evaluation));
    }
    for (eval::Evaluation& evaluation : found) {
      evaluation.images_per_second = prediction.images_per_second;
      judgement.evaluations.push_back(std::move(evaluation));
    }
  }
  return judgement;
}

}  // namespace cohort::train
