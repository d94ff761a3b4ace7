#include <memory>

#include <fmt/format.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/log.h"
#include "cohort/eval/weights.h"

#include "commands.h"
#include "trained_model.h"

namespace cohort::jobs {
namespace {

struct Options {
  ModelSource model;
  std::string out;
};

ExitCode export_weights(const Options& options, comm::Communicator& ranks) {
  const TrainedModel trained = load_trained_model(options.model, true, ranks);
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) checkpoint::write_safetensors(options.out, eval::weights_of(*trained.model));
  });
  log_info(fmt::format("{}: weights after step {} of {}", options.out, trained.step, options.model.run));
  return ExitCode::done;
}

}  // namespace

void add_export(CLI::App& app, Job& job) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "export", "Write the weights of a run's checkpoint as safetensors, with the reference's names");
  CLI::Option* run = command->add_option("--run", options->model.run, "folder of the run")->required();
  command->add_option("--step", options->model.step, "checkpoint to export; without it the newest")
      ->needs(run)
      ->check(CLI::PositiveNumber);
  command->add_option("--out", options->out, "safetensors file to write")->required();
  command->callback([options, &job] {
    job.program = "cohort export";
    job.with_ranks = [options](comm::Communicator& ranks) { return export_weights(*options, ranks); };
  });
}

}  // namespace cohort::jobs
