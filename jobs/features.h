#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/data/dataset.h"
#include "cohort/eval/evaluation.h"

#include "trained_model.h"

namespace cohort::jobs {

/// Whose features are judged, and by which splits.
struct FeatureOptions {
  ModelSource model;
  std::string train_split;
  std::string of;  ///< label or context to judge by; empty: train::judged_column()
  std::vector<std::string> splits;
  std::string out;
  bool all_contexts = false, overwrites = false;
  bool needs_tests = false;  ///< the training split alone cannot be judged
};

/// --of, --train-split, --split, --out, --overwrite, --all-contexts, and the model's.
void add_feature_options(CLI::App& command, FeatureOptions& options);

/// The images of a split and their features, [N, D] f32, in dataset order, the same on every rank.
struct SplitFeatures {
  data::Dataset dataset;
  at::Tensor features;
};

struct JudgedFeatures {
  eval::EvaluationColumns columns;
  SplitFeatures train;  ///< to learn from
  /// To be scored, in the order of the options; none: the dataset has no other split.
  std::vector<SplitFeatures> tests;
  std::int64_t step = 0;  ///< of the model
  std::uint64_t seed = 0;
};

/// Where the scores go: options.out, or else `name` in the folder of the run that the features are of, where
/// cohort report finds them; nowhere (empty) when they are of weights in a file, or of another part than a
/// report shows.
std::filesystem::path score_file(const FeatureOptions& options, const std::string& name);

/// Collective. Throws UsageError or DataError.
JudgedFeatures compute_features(const FeatureOptions& options, comm::Communicator& ranks);

/// `features` [N, …] of the images of `dataset`, in its order. Throws NumericalError naming the first image
/// whose features are not finite.
void check_finite(const at::Tensor& features, const data::Dataset& dataset);

/// Collective. Prints the evaluations on rank 0, and writes them, a JSON object a line, to score_file().
void present(const std::vector<eval::Evaluation>& evaluations, const FeatureOptions& options,
             const std::string& name, std::int64_t step, comm::Communicator& ranks);

}  // namespace cohort::jobs
