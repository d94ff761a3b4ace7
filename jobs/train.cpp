#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cohort/checkpoint/store.h"
#include "cohort/config/load.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/terminal.h"
#include "cohort/report/report.h"
#include "cohort/train/run_config.h"
#include "cohort/train/run_owner.h"
#include "cohort/train/trainer.h"

#include "case_pictures.h"
#include "commands.h"
#include "finetune.h"
#include "trained_model.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

struct TrainOptions {
  std::string config, from, part;  ///< `from`: the run to fine-tune; empty: none
  std::string step;                ///< of its checkpoints, or "best"; empty: the newest
  std::vector<std::string> overrides;
  bool print_config = false, help_config = false, overwrite = false;
};

ExitCode print_keys() {
  train::RunConfig defaults;
  fmt::print("{}", config::help(config::Fields(defaults)));
  return ExitCode::done;
}

ExitCode print_config(const TrainOptions& options) {
  const train::ConfigFile file(options.config, options.overrides);
  fmt::print("{}", config::dump(file.fields, true));
  return ExitCode::done;
}

/// The page and table of the finished run, on rank 0.
void report_run(const std::filesystem::path& run, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    const std::vector<std::filesystem::path> runs{run};
    report::write_html(runs, run / "report.html", pictures_of_datasets());
    fmt::print("{}report in {}\n", report::table(runs, terminal_columns()), (run / "report.html").string());
  });
}

/// The configuration with the model of the run to fine-tune; what the command line says comes last.
train::RunConfig config_to_finetune(const TrainOptions& options) {
  std::vector<std::string> assignments = model_of_run(options.from);
  assignments.insert(assignments.end(), options.overrides.begin(), options.overrides.end());
  train::RunConfig config = train::load_run_config(options.config, assignments);
  config.model.weights = config.run_dir / "start.safetensors";
  return config;
}

/// Once the exit code is decided, nothing but the end of the process is left to be stopped.
class SignalsAtTheEnd {
 public:
  explicit SignalsAtTheEnd(const train::StopConfig& config) : config_(config) {}
  SignalsAtTheEnd(const SignalsAtTheEnd&) = delete;
  SignalsAtTheEnd& operator=(const SignalsAtTheEnd&) = delete;
  ~SignalsAtTheEnd() { train::ignore_stop_signals(config_); }

 private:
  const train::StopConfig& config_;
};

/// Rank 0 writes the backbone of the run to fine-tune to where training looks for its first weights, unless
/// it goes on from a checkpoint of its own, which has all of them.
void export_start(const TrainOptions& options, const train::RunConfig& config, comm::Communicator& ranks) {
  const bool goes_on = checkpoint::Store(config.run_dir / "checkpoints", ranks).latest().has_value();
  if (goes_on && !options.overwrite) return;
  const fs::path checkpoints = fs::path(options.from) / "checkpoints";
  const checkpoint::Store store(checkpoints, ranks);
  const std::int64_t step = chosen_step(options.step, store, options.from);
  make_writable_folder(config.run_dir);
  export_encoder(store, {checkpoints, step}, options.part, config.model.weights);
}

ExitCode train_model(const TrainOptions& options, comm::Communicator& ranks) {
  std::optional<train::RunConfig> config;
  comm::together(ranks, [&] {
    if (options.from.empty()) {
      config = train::load_run_config(options.config, options.overrides);
      return;
    }
    config = config_to_finetune(options);
  });
  const auto owner =
      train::own_run(config->run_dir, options.from.empty() ? "cohort train" : "cohort finetune", ranks);
  comm::together(ranks, [&] {
    if (!options.from.empty() && ranks.rank() == 0) export_start(options, *config, ranks);
  });
  comm::Session::set_timeout(config->comm.timeout);
  train::Trainer trainer(*config, ranks, options.overwrite);
  const SignalsAtTheEnd signals(config->train.stop);
  const ExitCode code = trainer.run();
  if (code == ExitCode::done) report_run(config->run_dir, ranks);
  return code;
}

void choose(const std::shared_ptr<TrainOptions>& options, Job& job) {
  job.program = "cohort train";
  if (options->help_config) {
    job.alone = print_keys;
    return;
  }
  if (options->config.empty()) throw CLI::RequiredError("CONFIG");
  if (options->print_config) {
    job.alone = [options] { return print_config(*options); };
  } else {
    job.with_ranks = [options](comm::Communicator& ranks) { return train_model(*options, ranks); };
  }
}

}  // namespace

void add_train(CLI::App& app, Job& job) {
  const auto options = std::make_shared<TrainOptions>();
  CLI::App* command = &add_command(
      app,
      {"train",
       "Train a model; under mpirun or srun on several ranks",
       {"mpirun -n 4 cohort train configs/base.yaml data.path=data/mine optimizer.lr=1e-3",
        "cohort train small/contextvit data.path=data/mine context.keys=[slide]",
        "cohort train configs/base.yaml --print-config"},
       command_line::endings_of_training(),
       "It stops after a checkpoint at a signal, at the end of a Slurm job's time, or when the file STOP is "
       "in the run's folder. On a cluster: cohort submit."});
  command->add_option("CONFIG", options->config, "configuration: a YAML file, or a recipe (cohort configs)");
  command->add_option("OVERRIDE", options->overrides,
                      "KEY=VALUE, replaces an option of the file: optimizer.lr=1e-3");
  command->add_flag("--print-config", options->print_config,
                    "print every option and where its value came from, and stop");
  command->add_flag("--help-config", options->help_config,
                    "explain every option of a configuration, and stop (also: --help config)");
  command->add_flag("--overwrite", options->overwrite,
                    "remove an earlier run in the run folder and begin again");
  command->callback([options, &job] { choose(options, job); });
}

void add_finetune(CLI::App& app, Job& job) {
  const auto options = std::make_shared<TrainOptions>();
  CLI::App* command = &add_command(
      app, {"finetune",
            "Train from the backbone of a run, of any method, in a new run with its model and contexts",
            {"mpirun -n 4 cohort finetune new.yaml --from runs/x optimizer.layer_decay=0.75"},
            command_line::endings_of_training()});
  command->add_option("CONFIG", options->config, "configuration of the new run: a YAML file, or a recipe")
      ->required();
  command->add_option("OVERRIDE", options->overrides,
                      "KEY=VALUE, replaces an option of the file: optimizer.layer_decay=0.75");
  command->add_option("--from", options->from, "folder of the run whose backbone training starts from")
      ->required();
  add_step_option(*command, options->step);
  command->add_option("--part", options->part,
                      "encoder of that run's method: the one that is judged, or by name the student of dino, "
                      "the target of byol");
  command->add_flag("--overwrite", options->overwrite,
                    "remove an earlier run in the run folder and begin again");
  command->callback([options, &job] {
    job.program = "cohort finetune";
    job.with_ranks = [options](comm::Communicator& ranks) { return train_model(*options, ranks); };
  });
}

}  // namespace cohort::jobs
