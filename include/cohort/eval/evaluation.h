#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/core/terminal.h"
#include "cohort/data/column_reader.h"
#include "cohort/eval/predict.h"
#include "cohort/eval/scorecard.h"
#include "cohort/eval/scores.h"
#include "cohort/eval/stored_rows.h"

namespace cohort::eval {

/// Scores of a model on one split.
struct Evaluation {
  std::string split, label;
  std::vector<std::string> classes;
  std::string context_key;  ///< contexts that scores are given for; empty: none
  Scores scores;
  double images_per_second = 0.0;  ///< over all ranks; 0: not measured
  std::string classifier{};        ///< what gave the answers, "knn k=20 of slide"; empty: the model's head
  std::string detail{};            ///< of the classifier, "lr=0.1"; empty: none
  std::string task = "classification";  ///< of any other one `scores` are empty
  Scorecard card{};
};

/// What evaluate() reads of a dataset.
struct EvaluationColumns {
  std::string label;  ///< column to score against: a label, or a context that features are asked for
  /// Groups images (as in sampler.group_by, several keys are possible) and, the first one, names the contexts
  /// of the scores; empty: neither.
  std::string context_key;
  /// What the columns of the logits stand for, matched with the dataset's classes by name; empty: the
  /// dataset's classes, in their order.
  std::vector<std::string> classes{};
};

/// "knn k=20 of slide"; without the column where it is the dataset's only label.
std::string classifier_of(const std::string& classifier, const data::Description& description,
                          const std::string& column);

/// Collective. Scores of the model's head on the images of `dataset`, whose columns `reader` reads. A rank
/// holds the answers of one pass, labels of a shard, and counts. `features`: where features go besides; null:
/// nowhere. Throws UsageError (also: an image has a class that is none of columns.classes) or DataError.
Evaluation evaluate(nn::Encoder& model, const data::Dataset& dataset, data::ColumnReader& reader,
                    const EvaluationColumns& columns, const EvalConfig& config,
                    augment::Normalisation normalisation, bool bf16, comm::Communicator& ranks,
                    const AskedToStop& asked_to_stop = {}, StoredRows* features = nullptr);

/// Collective. Scores of a classifier of features, those of the images of `dataset`: `logits` gives [n,
/// classes] f32 of [n, D]. `config`: which contexts are scored, and at which threshold. Throws as evaluate().
Evaluation evaluate_features(const StoredRows& features,
                             const std::function<at::Tensor(const at::Tensor& features)>& logits,
                             const data::Dataset& dataset, data::ColumnReader& reader,
                             const EvaluationColumns& columns, const EvalConfig& config,
                             comm::Communicator& ranks);

/// A method's task, and where a split has what it needs.
struct TaskColumns {
  std::string_view task;            ///< of tasks(); empty: none
  std::vector<std::string> fields;  ///< of the dataset; answers are compared with the first one
  std::string context_key;          ///< as EvaluationColumns has it
};

/// Collective. Scores of what `method` answers to the images of `dataset`. A rank holds the answers of one
/// pass, and what the task keeps. Throws UsageError or DataError.
Evaluation evaluate_task(method::Method& method, const TaskColumns& columns, const data::Dataset& dataset,
                         const EvalConfig& config, augment::Normalisation normalisation, bool bf16,
                         comm::Communicator& ranks, const AskedToStop& asked_to_stop = {});

/// One JSON object without a line break: the evaluation line of metrics.jsonl. Losses and scores have 9
/// significant digits.
std::string evaluation_json(const Evaluation& evaluation, std::int64_t step, std::int64_t epoch);

/// "unseen_test, knn k=20": what was scored.
std::string evaluation_title(const Evaluation& evaluation);

/// "unseen_test  accuracy 0.8123  …  worst module_03 0.6000"; in a narrow terminal without rate, worst
/// context, loss, majority class, AUC and balanced accuracy, in this order.
PartedLine evaluation_line(const Evaluation& evaluation);

/// For the terminal: a line for all images, then one a context, worst first; of many the worst and the best
/// alone, unless `all` are wanted. `columns`: of the terminal; names are cut to 24, then confidence and
/// interval are left out where there are fewer. Nothing: there is none.
std::string evaluation_table(const Evaluation& evaluation, bool all,
                             std::optional<std::size_t> columns = std::nullopt);

/// The keys whose contexts are scored: those of eval.contexts, else the first one of `group_by`
/// (sampler.group_by). Throws UsageError: `description` lacks one.
std::vector<std::string> scored_context_keys(const EvalConfig& config, const std::string& group_by,
                                             const data::Description& description);

/// The context key that evaluation groups by: `group_by`, else the model's first key, else the dataset's
/// first.
std::string evaluation_group_key(const std::string& group_by, const std::vector<std::string>& model_keys,
                                 const data::Description& description);

}  // namespace cohort::eval
