#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/checkpoint/store.h"
#include "cohort/comm/communicator.h"
#include "cohort/method/method.h"
#include "cohort/nn/encoder.h"
#include "cohort/train/run_config.h"

#include "train/best_score.h"
#include "train/evaluated_splits.h"
#include "train/training_data.h"

namespace cohort::train {

/// What every rank makes for itself of configuration and dataset.
struct Parts {
  /// `config` outlives the parts. Throws UsageError or DataError.
  Parts(const RunConfig& config, data::Dataset training, EvaluatedSplits evaluated_splits, at::Device where,
        const comm::Communicator& ranks);

  TrainingData data;
  EvaluatedSplits splits;
  at::Device device;
  std::unique_ptr<method::Method> method;  ///< its models without values
  std::vector<checkpoint::Meta::Encoder> encoders;
  std::shared_ptr<nn::Encoder> model;  ///< what is evaluated and exported: the first of them

  /// What the method's answers are scored by.
  [[nodiscard]] TaskScores task_scores(const RunConfig& config) const;
  /// Of the run's evaluations: what checkpoint.best_by may be.
  [[nodiscard]] std::vector<std::string> score_names(const RunConfig& config) const;
};

/// Collective: when one rank cannot make its parts, all leave with its error.
std::unique_ptr<Parts> make_parts(const RunConfig& config, comm::Communicator& ranks);

std::int64_t count_parameters(const torch::nn::Module& model);

struct RunExtent {
  std::int64_t first_step, total_steps;
  int ranks;
};

/// What it means that an epoch is a single step, and what would change it; empty: it has more.
std::string warning_of_short_epochs(const RunConfig& config, const TrainingData& data, int ranks);

/// What is about to be trained, as lines for the log.
std::string run_table(const RunConfig& config, const Parts& parts, const RunExtent& extent);

}  // namespace cohort::train
