#pragma once
#include <optional>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/feature_statistics.h"
#include "cohort/nn/encoder.h"
#include "cohort/train/run_config.h"

#include "train/evaluated_splits.h"

namespace cohort::train {

/// What an evaluation during training finds.
struct Judgement {
  /// Of the training split; with eval.neighbours only.
  std::optional<eval::FeatureStatistics> features;
  /// Of every split: by the head, if the model has one, or the method's task; and by eval.neighbours.
  std::vector<eval::Evaluation> evaluations;
};

/// Collective. `model`: the encoder of `method` that is judged. Throws UsageError or DataError.
Judgement judge(method::Method& method, nn::Encoder& model, const EvaluatedSplits& splits,
                const RunConfig& config, comm::Communicator& ranks, const eval::AskedToStop& asked_to_stop);

}  // namespace cohort::train
