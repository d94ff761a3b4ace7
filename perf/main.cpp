#include <exception>
#include <span>
#include <string>
#include <utility>

#include "cohort/comm/session.h"
#include "cohort/core/memory.h"

#include "command_line/docs.h"
#include "commands.h"

namespace cohort::perf {

void add_output(CLI::App* command, Output& output) {
  command->add_flag("--json", output.json, "JSON Lines instead of the table (docs/profiling.md)")
      ->group("Output");
  command->add_option("--html", output.page, "write tables and pictures into this file")
      ->type_name("FILE")
      ->group("Output");
}

namespace {

/// What a command line that does not parse asks for: help, or one message from rank 0.
Job job_of(const CLI::App& app, std::span<char* const> arguments, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
    return {.alone = [&app, &error] { return static_cast<ExitCode>(app.exit(error)); }};
  return {.with_ranks = [text = command_line::explain(app, arguments, error)](comm::Communicator& ranks) {
    ranks.agree(std::make_exception_ptr(UsageError(text)));
    return ExitCode::usage;
  }};
}

int run_program(int argc, char** argv) {
  command_line::Command app({"cohort-perf",
                             "Measures the parts of Cohort on this machine, and plans runs on others",
                             {"mpirun -n 4 cohort-perf collectives",
                              "mpirun -n 4 cohort-perf step configs/base.yaml --synthetic 96x96x3"},
                             endings_on_ranks()});
  app.require_subcommand(1);
  Job job;
  for (const auto add :
       {add_collectives, add_loader,   add_sampler, add_recorder,  add_views,   add_engine,    add_step,
        add_scaling,     add_scale,    add_peak,    add_context,   add_compare, add_gate,      add_baseline,
        add_checkpoint,  add_features, add_trace,   add_calibrate, add_plan,    add_published, add_explain})
    add(app, job);
  command_line::add_docs(app, [&](std::function<ExitCode()> print) { job.alone = std::move(print); });
  const auto run = [&](Job chosen) {  // a copy: `docs check` parses command lines, which chooses anew
    const std::string name = command_line::full_name(command_line::chosen_command(app));
    if (chosen.alone) return comm::run_without_ranks(argc, argv, name, chosen.alone);
    return comm::run_ranks(argc, argv, name, chosen.with_ranks);
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return run(job_of(app, {argv, static_cast<std::size_t>(argc)}, error));
  }
  return run(job);
}

}  // namespace
}  // namespace cohort::perf

int main(int argc, char** argv) {
  cohort::keep_freed_memory();
  return cohort::perf::run_program(argc, argv);
}
