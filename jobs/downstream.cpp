// cohort downstream: what encoders are good for, by one command.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/train/run_owner.h"

#include "commands.h"
#include "downstream_jobs.h"
#include "study_plan.h"
#include "study_runs.h"
#include "study_table.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

struct DownstreamOptions {
  StudyOptions study;
  std::string cell;
  SlurmOptions slurm;
  bool table = false, prepare = false, submit = false;
};

void write_tables(const Study& study, const fs::path& out) {
  const std::vector<GroupResult> results = results_of(study, out);
  const std::string markdown = study_markdown(study, results);
  write_file_atomically(out / "scores.csv", scores_csv(study, results));
  write_file_atomically(out / "differences.csv", differences_csv(study, results));
  write_file_atomically(out / "table.md", markdown);
  write_file_atomically(out / "table.tex", study_latex(study, results));
  write_file_atomically(out / "scores.svg", study_picture(study, results));
  fmt::print("{}\ntables in {}\n", markdown, out.string());
}

ExitCode make_tables(const fs::path& out) {
  write_tables(read_study(out), out);
  return ExitCode::done;
}

/// Collective. As rank 0 has it: the others do not read what it has just written.
Study study_on_ranks(const StudyOptions& options, const fs::path& out, comm::Communicator& ranks) {
  std::string text;
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) text = study_json(plan_study(options));
  });
  return study_of_json(ranks.broadcast_text(text), out);
}

/// The tables are there also when runs failed, of which the others are told by them.
ExitCode run_whole(const Study& study, const fs::path& out, comm::Communicator& ranks) {
  const auto tables = [&] {
    comm::together(ranks, [&] {
      if (ranks.rank() == 0) write_tables(study, out);
    });
  };
  ExitCode code = ExitCode::done;
  std::exception_ptr failed;
  try {
    prepare_study(study, out, ranks);
    code = run_study(study, out, ranks);
  } catch (const FailedRuns&) {
    failed = std::current_exception();
  }
  if (code == ExitCode::stopped) return code;
  tables();
  if (failed) std::rethrow_exception(failed);
  return ExitCode::done;
}

ExitCode run(const DownstreamOptions& options, comm::Communicator& ranks) {
  const fs::path out = fs::absolute(options.study.out).lexically_normal();
  if (!options.cell.empty()) {
    std::optional<Study> study;
    comm::together(ranks, [&] { study = read_study(out); });
    return run_cell(*study, out, options.cell, ranks);
  }
  const auto owner = train::own_run(out, "cohort downstream", ranks);
  const Study study = study_on_ranks(options.study, out, ranks);
  if (!options.prepare) return run_whole(study, out, ranks);
  prepare_study(study, out, ranks);
  return ExitCode::done;
}

void add_study_options(CLI::App& command, StudyOptions& options) {
  command.add_option(
      "CONFIG", options.configs,
      "tasks: configurations, YAML files or recipes; NAME=CONFIG gives one another name; without "
      "them the study in --out goes on as it stands");
  command
      .add_option(
          "--from", options.from,
          "encoders: folders of runs, their checkpoints, safetensors files (of the CONFIG's model), or "
          "random; NAME=PATH gives one another name")
      ->expected(1, 1 << 16);
  command
      .add_option(
          "--modes", options.modes,
          "frozen: a head alone is trained; finetuned: all is; probe: a linear classifier of features")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command.add_option("--runs", options.runs, "runs of each, with seeds from that of the configuration on")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command
      .add_option(
          "--lr-search", options.rates,
          "learning rates to choose from, by the score of checkpoint.best_by of one run each; without "
          "it that of the configuration")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::PositiveNumber);
  command
      .add_option("--folds", options.folds,
                  "folds of a cross-validation, drawn over all images of the dataset: one is 'test', of the "
                  "others a part is 'val'; classes have the same ratio in each")
      ->check(CLI::Range(3, 1 << 20));
  command.add_option("--fold-by", options.fold_by,
                     "images of one value of this context key, such as patient, are in one fold");
  command
      .add_option("--set", options.set,
                  "KEY=VALUE, replaces an option of all configurations; may be repeated")
      ->allow_extra_args(false);
  command.add_option(
      "--score", options.score,
      "score that the tables show, such as test/auc; without it that of checkpoint.best_by, on "
      "the split test, or the one that does not choose");
  command.add_option("--out", options.out, "folder of the study")->required();
}

void choose(const std::shared_ptr<DownstreamOptions>& options, Job& job) {
  job.program = "cohort downstream";
  if (options->table) {
    job.alone = [options] { return make_tables(fs::absolute(options->study.out).lexically_normal()); };
  } else if (options->submit) {
    job.alone = [options] { return submit_study(options->study, options->slurm); };
  } else {
    job.with_ranks = [options](comm::Communicator& ranks) { return run(*options, ranks); };
  }
}

}  // namespace

void add_downstream(CLI::App& app, Job& job) {
  const auto options = std::make_shared<DownstreamOptions>();
  CLI::App* command = &add_command(
      app,
      {"downstream",
       "Compare encoders on tasks: frozen, fine-tuned and probed, over seeds and folds",
       {"mpirun -n 4 cohort downstream task.yaml --from runs/a runs/b random --lr-search 1e-3,3e-4 --out "
        "studies/x",
        "cohort downstream task.yaml --from runs/a --folds 5 --fold-by patient --out studies/x",
        "cohort downstream task.yaml --from runs/a runs/b --out studies/x --submit --time 2h"},
       command_line::endings_of_training(),
       "Runs that have ended are not repeated, and one that was killed goes on: the same command again goes "
       "on "
       "with the study. At its end there are tables and a picture of means with intervals, and of "
       "differences "
       "between encoders over the same seeds (docs/downstream.md)."});
  add_study_options(*command, options->study);
  CLI::Option* table =
      command->add_flag("--table", options->table, "write the tables of what has ended, and run nothing");
  CLI::Option* cell = command->add_option(
      "--cell", options->cell, "run this cell alone, as jobs of --submit do: TASK/ENCODER/MODE/seed=1");
  CLI::Option* prepare = command->add_flag(
      "--prepare", options->prepare, "write encoders and folds alone, as the first job of --submit does");
  CLI::Option* submit = command->add_flag(
      "--submit", options->submit,
      "hand the study to Slurm: an array of searches, one of runs, and a last job for the tables");
  command->option_defaults()->group("Jobs of Slurm");
  CLI::Option& time = add_resource_options(*command, options->slurm);
  command->option_defaults()->group("Options");
  submit->needs(&time)->excludes(table)->excludes(cell)->excludes(prepare);
  time.needs(submit);
  table->excludes(cell)->excludes(prepare);
  cell->excludes(prepare);
  command->callback([options, &job] { choose(options, job); });
}

}  // namespace cohort::jobs
