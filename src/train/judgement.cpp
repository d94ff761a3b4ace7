#include "train/judgement.h"

#include <cstdint>
#include <utility>

#include "cohort/data/column_reader.h"
#include "cohort/eval/knn.h"
#include "cohort/eval/stored_rows.h"

namespace cohort::train {

namespace {

/// Features of a split, and what its images are known by.
struct JudgedSplit {
  data::ColumnReader reader;
  eval::StoredRows features;
};

/// An evaluation's parts.
class Judge {
 public:
  Judge(nn::Encoder& model, const EvaluatedSplits& splits, const RunConfig& config, comm::Communicator& ranks,
        const eval::AskedToStop& asked_to_stop)
      : model_(model), splits_(splits), config_(config), ranks_(ranks), asked_to_stop_(asked_to_stop) {}

  /// Collective. With room for features.
  JudgedSplit open(const data::Dataset& dataset) {
    return {splits_.reader_of(dataset), eval::StoredRows(dataset.rows(), model_.traits().width, ranks_)};
  }
  /// Collective. Features alone. Returns images per second.
  double fill(JudgedSplit& judged, const data::Dataset& dataset) {
    const auto take = [&](const eval::PassAnswers& answers) {
      judged.features.write(answers.rows, answers.features);
    };
    return eval::predict_passes(model_, dataset, splits_.columns().context_key, config_.eval,
                                config_.data.normalisation, config_.precision == Precision::bf16, ranks_,
                                {take}, {}, asked_to_stop_);
  }
  /// Collective. Scores of the head; `features`: as eval::evaluate() has it.
  eval::Evaluation score(const data::Dataset& dataset, data::ColumnReader& reader,
                         eval::StoredRows* features) {
    return eval::evaluate(model_, dataset, reader, splits_.columns(), config_.eval,
                          config_.data.normalisation, config_.precision == Precision::bf16, ranks_,
                          asked_to_stop_, features);
  }
  /// Collective. Scores of what the method answers.
  eval::Evaluation score_task(method::Method& method, const data::Dataset& dataset) {
    return eval::evaluate_task(method, splits_.task(), dataset, config_.eval, config_.data.normalisation,
                               config_.precision == Precision::bf16, ranks_, asked_to_stop_);
  }
  /// Collective. Of the images of `dataset` by those of the training split.
  std::vector<eval::Evaluation> judge(JudgedSplit& bank, JudgedSplit& queries, const data::Dataset& dataset) {
    const eval::KnnConfig knn{.neighbours = config_.eval.neighbours,
                              .leave_own_out = dataset.split() == splits_.bank()->split()};
    const auto labels = [&](std::int64_t first, std::int64_t count) {
      return bank.reader.column(splits_.judged().label, first, count);
    };
    return eval::evaluate_by_neighbours({bank.features, labels}, queries.features, dataset, queries.reader,
                                        splits_.judged(), config_.eval, knn, ranks_);
  }

 private:
  nn::Encoder& model_;
  const EvaluatedSplits& splits_;
  const RunConfig& config_;
  comm::Communicator& ranks_;
  const eval::AskedToStop& asked_to_stop_;
};

}  // namespace

Judgement judge(method::Method& method, nn::Encoder& model, const EvaluatedSplits& splits,
                const RunConfig& config, comm::Communicator& ranks, const eval::AskedToStop& asked_to_stop) {
  Judge judge(model, splits, config, ranks, asked_to_stop);
  Judgement judgement;
  const auto add = [&](double rate, std::vector<eval::Evaluation> found) {
    for (eval::Evaluation& evaluation : found) {
      evaluation.images_per_second = rate;
      judgement.evaluations.push_back(std::move(evaluation));
    }
  };
  std::optional<JudgedSplit> bank;
  if (splits.bank() != nullptr) {
    bank = judge.open(*splits.bank());
    const double rate = judge.fill(*bank, *splits.bank());
    judgement.features = eval::feature_statistics(
        bank->features.rows(),
        [&](std::int64_t first, std::int64_t count) { return bank->features.block(first, count); });
    if (splits.judges_training_split()) add(rate, judge.judge(*bank, *bank, *splits.bank()));
  }
  const bool has_head = !splits.columns().label.empty(), has_task = !splits.task().fields.empty();
  for (const EvaluatedSplit& split : splits.splits()) {
    JudgedSplit judged = judge.open(split.dataset);
    eval::StoredRows* const features = split.by_neighbours ? &judged.features : nullptr;
    double rate = 0;
    if (has_task) judgement.evaluations.push_back(judge.score_task(method, split.dataset));
    if (has_head) {
      judgement.evaluations.push_back(judge.score(split.dataset, judged.reader, features));
      rate = judgement.evaluations.back().images_per_second;
    } else if (split.by_neighbours) {
      rate = judge.fill(judged, split.dataset);
    }
    if (split.by_neighbours) add(rate, judge.judge(*bank, judged, split.dataset));
  }
  return judgement;
}

}  // namespace cohort::train
