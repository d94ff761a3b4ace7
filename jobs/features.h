#pragma once
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/data/dataset.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/feature_file.h"

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

/// Looks at the splits to score, before anything is computed; may throw.
using CheckTests = std::function<void(std::span<const data::Dataset> tests)>;

/// Collective. Throws UsageError or DataError, or what `check` throws.
JudgedFeatures compute_features(const FeatureOptions& options, comm::Communicator& ranks,
                                const CheckTests& check = nullptr);

/// What is computed of the images of a split, and how.
struct Computation {
  const TrainedModel& trained;
  const data::Dataset& dataset;
  std::string group_by;  ///< eval::evaluation_group_key()
  eval::FeatureChoice choice{};

  /// The answers of each pass go to `sink`. Collective. Returns images per second over all ranks.
  [[nodiscard]] double run(const eval::AnswerSink& sink, comm::Communicator& ranks) const;
  /// A text that differs where any value would.
  [[nodiscard]] std::string identity() const;
};

/// Collective. Reads the columns of a split of the dataset that a model works on.
data::ColumnReader columns_of(const TrainedModel& trained, const std::string& split,
                              comm::Communicator& ranks);

/// Collective. Fills `writer` with what it lacks. Throws NumericalError, and leaves no file, when values are
/// not finite: features, or logits where `features` are not written.
double compute_into(eval::FeatureWriter& writer, const Computation& what, comm::Communicator& ranks);

/// Before rank 0 writes a table alone: the others wait for it as long as that takes.
void wait_for_table() noexcept;

/// `features` [N, …] of the images of `dataset`, in its order. Throws NumericalError naming the first image
/// whose features are not finite.
void check_finite(const at::Tensor& features, const data::Dataset& dataset);

/// Collective. Prints the evaluations on rank 0, and writes them, a JSON object a line, to score_file().
void present(const std::vector<eval::Evaluation>& evaluations, const FeatureOptions& options,
             const std::string& name, std::int64_t step, comm::Communicator& ranks);

}  // namespace cohort::jobs
