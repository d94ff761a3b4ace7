#include "cohort/eval/knn.h"

#include <memory>

#include <fmt/format.h>

#include "cohort/train/run_owner.h"

#include "commands.h"
#include "features.h"
#include "new_file.h"

namespace cohort::jobs {
namespace {

struct KnnOptions {
  FeatureOptions features;
  eval::KnnConfig config;
};

ExitCode classify_by_neighbours(const KnnOptions& options, comm::Communicator& ranks) {
  refuse_existing({options.features.out}, options.features.overwrites, ranks);
  const auto owners = train::own_runs_of({score_file(options.features, "knn.jsonl")}, "cohort knn", ranks);
  const JudgedFeatures judged = compute_features(options.features, ranks);
  std::vector<eval::Evaluation> evaluations;
  const auto judge = [&](const SplitFeatures& test) {
    eval::KnnConfig config = options.config;
    config.leave_own_out = test.dataset.split() == judged.train.dataset.split();
    for (eval::Evaluation& evaluation : eval::evaluate_by_neighbours(
             judged.train.features, judged.train.dataset.column(judged.columns.label), test.features,
             test.dataset, judged.columns, config, ranks))
      evaluations.push_back(std::move(evaluation));
  };
  for (const SplitFeatures& test : judged.tests) judge(test);
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
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--temperature", options->config.temperature,
                   "a neighbour's vote is exp(cosine similarity / temperature)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([options, &job] {
    job.program = "cohort knn";
    job.with_ranks = [options](comm::Communicator& ranks) { return classify_by_neighbours(*options, ranks); };
  });
}

}  // namespace cohort::jobs
