#include "features.h"

#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "cohort/core/file.h"
#include "cohort/train/model.h"

namespace cohort::jobs {
namespace {

/// Those given, else all but the one that is learned from.
std::vector<std::string> test_splits(const FeatureOptions& options, const data::Description& description,
                                     const std::string& train_split) {
  if (!options.splits.empty()) return options.splits;
  std::vector<std::string> names;
  for (const data::Split& split : description.splits) {
    if (split.name != train_split) names.push_back(split.name);
  }
  return names;
}

}  // namespace

std::filesystem::path score_file(const FeatureOptions& options, const std::string& name) {
  if (!options.out.empty()) return options.out;
  const bool is_of_run = !options.model.run.empty() && options.model.part.empty();
  return is_of_run ? std::filesystem::path(options.model.run) / name : std::filesystem::path();
}

void add_feature_options(CLI::App& command, FeatureOptions& options) {
  add_model_options(command, options.model);
  command.add_option("--train-split", options.train_split,
                     "split to learn from; without it that of the configuration (data.train_split)");
  command.add_option("--split", options.splits, "split to score; may be repeated; without it all the others")
      ->allow_extra_args(false);
  command.add_option(
      "--out", options.out,
      "write the scores to this file, a JSON object a line; without it, and with --run, to knn.jsonl, "
      "linear_probe.jsonl or mlp_probe.jsonl in the run's folder, where cohort report finds them");
}

JudgedFeatures compute_features(const FeatureOptions& options, comm::Communicator& ranks) {
  const TrainedModel trained = load_trained_model(options.model, Head::none, ranks);
  const train::RunConfig& config = trained.config;
  eval::EvaluationColumns columns;
  const data::Description description = data::Description::read(config.data.path, ranks);
  comm::together(ranks, [&] {
    columns = {
        train::scored_column(config, description),
        eval::evaluation_group_key(train::training_group_key(config), config.context.keys, description)};
  });
  const auto open = [&](const std::string& name) {
    const auto label = [&](const data::Description&) { return std::vector<std::string>{columns.label}; };
    return data::Dataset::open(config.data.path, name, label, ranks);
  };
  const std::string first = options.train_split.empty() ? config.data.train_split : options.train_split;
  std::vector<data::Dataset> splits;  // the first one is learned from
  splits.push_back(open(first));
  for (const std::string& name : test_splits(options, description, first)) splits.push_back(open(name));
  std::vector<SplitFeatures> all;
  for (data::Dataset& split : splits) {
    at::Tensor features =
        eval::predict(*trained.model, split, columns.context_key, config.eval, config.data.normalisation,
                      config.precision == train::Precision::bf16, ranks)
            .features;
    all.push_back({std::move(split), std::move(features)});
  }
  JudgedFeatures judged{columns, std::move(all.front()), {}, trained.step, config.seed};
  for (std::size_t i = 1; i < all.size(); ++i) judged.tests.push_back(std::move(all[i]));
  return judged;
}

void present(const std::vector<eval::Evaluation>& evaluations, const FeatureOptions& options,
             const std::string& name, std::int64_t step, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    std::string lines;
    for (const eval::Evaluation& evaluation : evaluations) {
      fmt::print("{}\n", eval::evaluation_table(evaluation));
      lines += eval::evaluation_json(evaluation, step, 0) + "\n";
    }
    const std::filesystem::path file = score_file(options, name);
    if (!file.empty()) write_file_atomically(file, lines);
  });
}

}  // namespace cohort::jobs
