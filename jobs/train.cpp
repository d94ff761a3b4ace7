#include <memory>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "cohort/config/load.h"
#include "cohort/report/report.h"
#include "cohort/train/run_config.h"
#include "cohort/train/trainer.h"

#include "commands.h"

namespace cohort::jobs {
namespace {

struct TrainOptions {
  std::string config;
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
    report::write_html(runs, run / "report.html");
    fmt::print("{}report in {}\n", report::table(runs), (run / "report.html").string());
  });
}

ExitCode train_model(const TrainOptions& options, comm::Communicator& ranks) {
  std::optional<train::RunConfig> config;
  comm::together(ranks, [&] { config = train::load_run_config(options.config, options.overrides); });
  comm::Session::set_timeout(config->comm.timeout);
  train::Trainer trainer(*config, ranks, options.overwrite);
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
  CLI::App* command =
      app.add_subcommand("train", "Train a model; on several ranks: mpirun -n 4 cohort train CONFIG");
  command->add_option("CONFIG", options->config, "configuration file (YAML)");
  command->add_option("OVERRIDE", options->overrides,
                      "KEY=VALUE, replaces an option of the file: optimizer.lr=1e-3");
  command->add_flag("--print-config", options->print_config,
                    "print every option and where its value came from, and stop");
  command->add_flag("--help-config", options->help_config,
                    "explain every option of a configuration, and stop (also: --help config)");
  command->add_flag("--overwrite", options->overwrite,
                    "remove an earlier run in the run folder and begin again");
  command->footer(
      "Exit codes: 0 done, 2 bad usage or configuration, 3 bad or missing data, 4 not finite, 5 a rank "
      "failed,\n"
      "75 stopped by a signal after a checkpoint: run the same command again to go on.");
  command->callback([options, &job] { choose(options, job); });
}

}  // namespace cohort::jobs
