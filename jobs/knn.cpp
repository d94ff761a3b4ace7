#include "cohort/eval/knn.h"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cohort/train/run_owner.h"

#include "commands.h"
#include "features.h"
#include "new_file.h"

namespace cohort::jobs {
namespace {

struct KnnOptions {
  FeatureOptions features;
  eval::KnnConfig config;
  bool names_numbers = false;  ///< --k was given
};

/// Of the usual numbers of neighbours; one at least, which is refused where it has to be.
void keep_those_that_fit(eval::KnnConfig& config, std::int64_t labelled) {
  const std::int64_t least = config.neighbours.front();
  std::erase_if(config.neighbours, [&](std::int64_t count) {
    return count > least && count > labelled - std::int64_t{config.leave_own_out};
  });
}

/// For the images of a split, beside those of the training split with a label. Throws UsageError: they are
/// too few.
eval::KnnConfig config_for(const std::string& split, const train::SplitCounts& bank,
                           const KnnOptions& options) {
  eval::KnnConfig config = options.config;
  config.leave_own_out = split == bank.split;
  if (!options.names_numbers) keep_those_that_fit(config, bank.all());
  eval::check_neighbours(config, bank.all());
  return config;
}

ExitCode classify_by_neighbours(const KnnOptions& options, comm::Communicator& ranks) {
  refuse_existing({options.features.out}, options.features.overwrites, ranks);
  const auto owners = train::own_runs_of({score_file(options.features, "knn.jsonl")}, "cohort knn", ranks);
  const auto check = [&](const train::SplitCounts& bank, std::span<const data::Dataset> tests) {
    for (const data::Dataset& test : tests) (void)config_for(test.split(), bank, options);
    if (tests.empty()) (void)config_for(bank.split, bank, options);
  };
  JudgedFeatures judged = compute_features(options.features, ranks, check);
  const eval::LabelledRows bank = judged.train.labelled(judged.columns.label);
  std::vector<eval::Evaluation> evaluations;
  const auto judge = [&](SplitFeatures& test) {
    const eval::KnnConfig config = config_for(test.dataset.split(), judged.train_counts, options);
    for (eval::Evaluation& evaluation : eval::evaluate_by_neighbours(
             bank, test.features, test.dataset, test.reader, judged.columns, judged.scored, config, ranks))
      evaluations.push_back(std::move(evaluation));
  };
  for (SplitFeatures& test : judged.tests) judge(test);
  if (judged.tests.empty()) judge(judged.train);
  present(evaluations, options.features, "knn.jsonl", judged.step, ranks);
  return ExitCode::done;
}

}  // namespace

void add_knn(CLI::App& app, Job& job) {
  const auto options = std::make_shared<KnnOptions>();
  CLI::App* command = &add_command(
      app, {"knn",
            "Judge features without training: classify by the nearest images of the training split",
            {"cohort knn --run runs/x", "mpirun -n 4 cohort knn --run runs/x --k 5,20 --split test",
             "cohort knn --run runs/x --of slide"},
            command_line::endings_on_ranks()});
  add_feature_options(*command, options->features);
  command->add_option("--k", options->config.neighbours, "numbers of neighbours, each scored by itself")
      ->delimiter(',')
      ->allow_extra_args(false)  // KEY=VALUE may follow
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20, "a whole number from 1 on"))
      ->capture_default_str();
  command
      ->add_option("--temperature", options->config.temperature,
                   "a neighbour's vote is exp(cosine similarity / temperature)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([options, command, &job] {
    options->names_numbers = command->count("--k") > 0;
    job.program = "cohort knn";
    job.with_ranks = [options](comm::Communicator& ranks) { return classify_by_neighbours(*options, ranks); };
  });
}

}  // namespace cohort::jobs
