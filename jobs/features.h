#pragma once
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/data/dataset.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/feature_file.h"
#include "cohort/eval/stored_rows.h"
#include "cohort/train/columns.h"

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

/// The images of a split and their features, [N, D] f32, in dataset order.
struct SplitFeatures {
  data::Dataset dataset;
  data::ColumnReader reader;
  eval::StoredRows features;

  /// With the values of a label or context. Refers to this, which moving breaks.
  [[nodiscard]] eval::LabelledRows labelled(const std::string& column);
};

struct JudgedFeatures {
  eval::EvaluationColumns columns;
  eval::EvalConfig scored;          ///< contexts that scores are given for
  SplitFeatures train;              ///< to learn from
  train::SplitCounts train_counts;  ///< of columns.label
  /// To be scored, in the order of the options; none: the dataset has no other split.
  std::vector<SplitFeatures> tests;
  std::int64_t step = 0;  ///< of the model
  std::uint64_t seed = 0;
};

/// Where the scores go: options.out, or else `name` in the folder of the run that the features are of, where
/// cohort report finds them; nowhere (empty) when they are of weights in a file, or of another part than a
/// report shows.
std::filesystem::path score_file(const FeatureOptions& options, const std::string& name);

/// Looks at what there is to learn from and at the splits to score, before anything is computed; may throw.
using CheckSplits =
    std::function<void(const train::SplitCounts& train, std::span<const data::Dataset> tests)>;

/// Collective. Throws UsageError or DataError, or what `check` throws.
JudgedFeatures compute_features(const FeatureOptions& options, comm::Communicator& ranks,
                                const CheckSplits& check = nullptr);

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

/// The split `asked` for, else the first one with images besides the training split, else that.
std::string split_to_show(const std::string& asked, const train::RunConfig& config,
                          const data::Description& description);

/// Features of chosen rows of a split, as passes meet them.
class ChosenFeatures {
 public:
  /// Collective. `width`: of the features. `ranks` has to outlive it.
  ChosenFeatures(const std::vector<std::int64_t>& rows, std::int64_t width, comm::Communicator& ranks);
  void take(const eval::PassAnswers& answers);
  /// Collective. [rows, D], in the order of the rows, on every rank.
  [[nodiscard]] at::Tensor all() const { return features_.block(0, features_.rows()); }

 private:
  std::multimap<std::int64_t, std::int64_t> places_;  // of each row
  eval::StoredRows features_;
};

/// Of names and values of a model.
std::uint64_t checksum_of(const torch::nn::Module& model);

/// Collective. Fills `writer` with what it lacks. Throws NumericalError, and leaves no file, when values are
/// not finite: features, or logits where `features` are not written.
double compute_into(eval::FeatureWriter& writer, const Computation& what, comm::Communicator& ranks);

/// Before rank 0 writes a table alone: the others wait for it as long as that takes.
void wait_for_table() noexcept;

/// Images with values that are not finite, as a rank meets them.
class NotFinite {
 public:
  /// `values` [n, …] of the rows `rows` [n] i64. Whether all are finite.
  bool look(const at::Tensor& rows, const at::Tensor& values);
  /// Collective. Those of all ranks from here on. Whether there are any.
  bool add_up(comm::Communicator& ranks);
  /// Behind add_up(). Throws NumericalError naming the first image, when there are any.
  void refuse(const data::Dataset& dataset) const;

 private:
  std::int64_t images_ = 0, first_ = std::numeric_limits<std::int64_t>::max();
};

/// Collective. Prints the evaluations on rank 0, and writes them, a JSON object a line, to score_file().
void present(const std::vector<eval::Evaluation>& evaluations, const FeatureOptions& options,
             const std::string& name, std::int64_t step, comm::Communicator& ranks);

}  // namespace cohort::jobs
