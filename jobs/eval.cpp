#include <memory>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/file.h"
#include "cohort/data/column_reader.h"
#include "cohort/data/dataset.h"
#include "cohort/data/signature.h"
#include "cohort/eval/evaluation.h"
#include "cohort/train/columns.h"
#include "cohort/train/model.h"
#include "cohort/train/run_owner.h"

#include "answering_model.h"
#include "commands.h"
#include "new_file.h"
#include "trained_model.h"

namespace cohort::jobs {
namespace {

struct EvalOptions {
  ModelSource model;
  std::vector<std::string> splits;
  std::string out;
  bool all_contexts = false, overwrites = false;
};

/// Of --split, else eval.splits, else all but the training split.
const std::vector<std::string>& asked_splits(const EvalOptions& options, const train::RunConfig& config) {
  return options.splits.empty() ? config.eval.splits : options.splits;
}

/// What of `description` a model is scored by.
eval::EvaluationColumns scored_columns(const TrainedModel& trained, const data::Description& description) {
  const train::RunConfig& config = trained.config;
  return {train::label_column(config, description),
          eval::evaluation_group_key(train::training_group_key(config), config.context.keys, description),
          trained.signature.classes};
}

/// Throws UsageError: there are images of a class that the model does not know.
void check_classes(const ScoredSplit& split, const eval::EvaluationColumns& columns) {
  const data::Dataset& dataset = split.dataset;
  const data::ClassNumbers numbers(dataset.description(), dataset.split(), columns.label, columns.classes);
  for (std::size_t i = 0; i < split.counts.of_values.size(); ++i)
    if (split.counts.of_values[i] > 0) (void)numbers(static_cast<std::int32_t>(i));
}

/// Collective. The splits, once it is known that the model knows all their classes.
std::vector<ScoredSplit> open_splits(const EvalOptions& options, const TrainedModel& trained,
                                     eval::EvaluationColumns& columns, comm::Communicator& ranks) {
  const train::RunConfig& config = trained.config;
  const data::Description description = data::Description::read(config.data.path, ranks);
  comm::together(ranks, [&] { columns = scored_columns(trained, description); });
  std::vector<ScoredSplit> splits = open_scored_splits(trained, asked_splits(options, config),
                                                       config.data.train_split, columns.label, ranks);
  comm::together(ranks, [&] {
    for (const ScoredSplit& split : splits) check_classes(split, columns);
  });
  return splits;
}

/// What is written and shown of each split.
class Records {
 public:
  Records(const EvalOptions& options, comm::Communicator& ranks) : options_(options), ranks_(ranks) {}

  void add(const eval::Evaluation& evaluation, std::int64_t step) {
    lines_ += eval::evaluation_json(evaluation, step, 0) + "\n";
    if (ranks_.rank() == 0)
      fmt::print("{}\n", eval::evaluation_table(evaluation, options_.all_contexts, terminal_columns()));
  }
  /// Collective.
  void write() const {
    comm::together(ranks_, [&] {
      if (ranks_.rank() == 0 && !options_.out.empty()) write_file_atomically(options_.out, lines_);
    });
  }

 private:
  const EvalOptions& options_;
  comm::Communicator& ranks_;
  std::string lines_;
};

/// Collective. By what a method answers.
void evaluate_answers(const EvalOptions& options, Records& records, comm::Communicator& ranks) {
  const AnsweringModel model = load_answering_model(options.model, ranks);
  const train::RunConfig& config = model.config;
  for (const data::Dataset& dataset : open_answered_splits(model, asked_splits(options, config), ranks)) {
    records.add(
        eval::evaluate_task(*model.method, model.columns, dataset, config.eval, config.data.normalisation,
                            config.precision == train::Precision::bf16, ranks),
        model.step);
  }
}

/// Collective. By the classes of a head.
void evaluate_head(const EvalOptions& options, Records& records, comm::Communicator& ranks) {
  const TrainedModel trained = load_trained_model(options.model, Head::needed, ranks);
  const train::RunConfig& config = trained.config;
  eval::EvaluationColumns columns;
  const std::vector<ScoredSplit> splits = open_splits(options, trained, columns, ranks);
  for (const ScoredSplit& split : splits) {
    const data::Dataset& dataset = split.dataset;
    data::ColumnReader reader = columns_of(trained, dataset.split(), ranks);
    records.add(eval::evaluate(*trained.model, dataset, reader, columns, config.eval,
                               config.data.normalisation, config.precision == train::Precision::bf16, ranks),
                trained.step);
  }
}

ExitCode evaluate_model(const EvalOptions& options, comm::Communicator& ranks) {
  refuse_existing({options.out}, options.overwrites, ranks);
  const auto owners = train::own_runs_of({options.out}, "cohort eval", ranks);
  std::string task;
  comm::together(ranks, [&] { task = task_of(options.model); });
  Records records(options, ranks);
  if (task.empty())
    evaluate_head(options, records, ranks);
  else
    evaluate_answers(options, records, ranks);
  records.write();
  return ExitCode::done;
}

}  // namespace

void add_eval(CLI::App& app, Job& job) {
  const auto options = std::make_shared<EvalOptions>();
  CLI::App* command = &add_command(
      app,
      {"eval",
       "Score a model on splits of a dataset, over all images and per context",
       {"cohort eval --run runs/x --split test", "mpirun -n 4 cohort eval --run runs/x --out scores.jsonl"},
       command_line::endings_on_ranks()});
  add_model_options(*command, options->model);
  command
      ->add_option("--split", options->splits,
                   "split to score; may be repeated; without it those of the configuration")
      ->allow_extra_args(false);
  command->add_option("--out", options->out,
                      "write the scores to this file, a JSON object a line for each split");
  add_overwrite(*command, options->overwrites);
  command->add_flag("--all-contexts", options->all_contexts,
                    "show all contexts, not the worst and best alone");
  command->callback([options, &job] {
    job.program = "cohort eval";
    job.with_ranks = [options](comm::Communicator& ranks) { return evaluate_model(*options, ranks); };
  });
}

}  // namespace cohort::jobs
