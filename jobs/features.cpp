#include "features.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/train/columns.h"
#include "cohort/train/model.h"

#include "new_file.h"

namespace cohort::jobs {
std::filesystem::path score_file(const FeatureOptions& options, const std::string& name) {
  if (!options.out.empty()) return options.out;
  const bool is_of_run = !options.model.run.empty() && options.model.part.empty();
  return is_of_run ? std::filesystem::path(options.model.run) / name : std::filesystem::path();
}

void add_feature_options(CLI::App& command, FeatureOptions& options) {
  add_model_options(command, options.model);
  command.add_option("--of", options.of,
                     "label or context that features are judged by, such as slide; without it "
                     "eval.neighbours_of of the configuration, else the label");
  command.add_option("--train-split", options.train_split,
                     "split to learn from; without it that of the configuration (data.train_split)");
  command.add_option("--split", options.splits, "split to score; may be repeated; without it all the others")
      ->allow_extra_args(false);
  command.add_option(
      "--out", options.out,
      "write the scores to this file, a JSON object a line; without it, and with --run, to knn.jsonl, "
      "linear_probe.jsonl or mlp_probe.jsonl in the run's folder, where cohort report finds them");
  add_overwrite(command, options.overwrites);
  command.add_flag("--all-contexts", options.all_contexts, "show all contexts, not the worst and best alone");
}

namespace {

/// Whether there is a split to score: one asked for, or another than that to learn from.
bool has_tests(const FeatureOptions& options, const data::Description& description,
               const std::string& train_split) {
  if (!options.splits.empty()) return true;
  return std::any_of(description.splits.begin(), description.splits.end(),
                     [&](const data::Split& split) { return split.name != train_split && split.rows() > 0; });
}

/// By which option the user said what features are judged by.
std::string option_of(const FeatureOptions& options) {
  return options.of.empty() ? "eval.neighbours_of" : "--of";
}

eval::EvaluationColumns judged_columns(const FeatureOptions& options, train::RunConfig config,
                                       const data::Description& description) {
  if (!options.of.empty()) config.eval.neighbours_of = options.of;
  eval::EvaluationColumns columns{
      train::judged_column(config, description, option_of(options)),
      eval::evaluation_group_key(train::training_group_key(config), config.context.keys, description)};
  if (!columns.label.empty()) return columns;
  std::vector<std::string> keys;
  for (const data::ContextColumn& column : description.contexts) keys.push_back(column.name);
  throw UsageError({"the dataset has no label to judge features by", config.data.path.string(),
                    keys.empty() ? "convert it with labels or contexts; cohort extract needs neither"
                                 : fmt::format("give --of with a context: {}", list_of(keys))});
}

/// Splits without a value that `train` has are left out with a warning, unless they were asked for or are
/// all.
void leave_out_strangers(const data::Dataset& train, std::vector<data::Dataset>& tests,
                         const std::string& column, const FeatureOptions& options) {
  std::optional<UsageError> last;
  std::erase_if(tests, [&](const data::Dataset& test) {
    const auto why_not = train::obstacle_to_judge(train, test, column, option_of(options));
    if (!why_not) return false;
    if (!options.splits.empty()) throw UsageError(*why_not);
    log_warning("passed over: " + why_not->text().what);
    last = why_not;
    return true;
  });
  if (last && tests.empty()) throw UsageError(*last);
}

}  // namespace

JudgedFeatures compute_features(const FeatureOptions& options, comm::Communicator& ranks,
                                const CheckTests& check) {
  const TrainedModel trained = load_trained_model(options.model, Head::none, ranks);
  const train::RunConfig& config = trained.config;
  eval::EvaluationColumns columns;
  const data::Description description = data::Description::read(config.data.path, ranks);
  const std::string first = options.train_split.empty() ? config.data.train_split : options.train_split;
  comm::together(ranks, [&] { columns = judged_columns(options, config, description); });
  data::Dataset train = open_split(trained, first, {columns.label}, ranks);
  std::vector<data::Dataset> tests;
  if (has_tests(options, description, first))
    tests = open_scored_splits(trained, options.splits, first, columns.label, ranks);
  comm::together(ranks, [&] {
    leave_out_strangers(train, tests, columns.label, options);
    if (check) check(tests);
  });
  const auto with_features = [&](data::Dataset split) -> SplitFeatures {
    at::Tensor features =
        eval::predict(*trained.model, split, columns.context_key, config.eval, config.data.normalisation,
                      config.precision == train::Precision::bf16, ranks)
            .features;
    comm::together(ranks, [&] { check_finite(features, split); });
    return {std::move(split), std::move(features)};
  };
  JudgedFeatures judged{columns, with_features(std::move(train)), {}, trained.step, config.seed};
  for (data::Dataset& split : tests) judged.tests.push_back(with_features(std::move(split)));
  return judged;
}

void check_finite(const at::Tensor& features, const data::Dataset& dataset) {
  const at::Tensor bad = features.isfinite().flatten(1).all(1).logical_not().nonzero();  // [n, 1]
  if (bad.numel() == 0) return;
  throw NumericalError(
      {fmt::format("the features of {} of {} images are not finite numbers, the first one is '{}'",
                   format_count(bad.size(0)), format_count(dataset.rows()),
                   dataset.id(bad[0][0].item<std::int64_t>())),
       fmt::format("split '{}'", dataset.split()),
       "the image holds values that are not finite, the weights are damaged, or training diverged"});
}

void present(const std::vector<eval::Evaluation>& evaluations, const FeatureOptions& options,
             const std::string& name, std::int64_t step, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    std::string lines;
    for (const eval::Evaluation& evaluation : evaluations) {
      fmt::print("{}\n", eval::evaluation_table(evaluation, options.all_contexts, terminal_columns()));
      lines += eval::evaluation_json(evaluation, step, 0) + "\n";
    }
    const std::filesystem::path file = score_file(options, name);
    if (!file.empty()) write_file_atomically(file, lines);
  });
}

}  // namespace cohort::jobs
