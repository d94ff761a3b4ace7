#include "cohort/program.h"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/core/memory.h"

#include "commands.h"

namespace cohort::jobs {
namespace {

/// One message from rank 0, on however many ranks the program was started.
int refuse(int& argc, char**& argv, const CLI::App& app, const CLI::ParseError& error) {
  const Error::Text text = command_line::explain(app, {argv, static_cast<std::size_t>(argc)}, error);
  return comm::run_ranks(argc, argv, command_line::full_name(command_line::chosen_command(app)),
                         [&](comm::Communicator& ranks) {
                           ranks.agree(std::make_exception_ptr(UsageError(text)));
                           return ExitCode::usage;
                         });
}

/// A copy of the job: `cohort docs check` parses command lines, which choose anew.
int run(int& argc, char**& argv, Job job) {
  if (job.alone) return comm::run_without_ranks(argc, argv, job.program, job.alone);
  return comm::run_ranks(argc, argv, job.program, job.with_ranks);
}

/// "train --help config" asks for the keys of configurations, not for the help of train.
bool asks_for_keys(std::span<char*> arguments) {
  return arguments.size() == 4 && std::string_view(arguments[1]) == "train" &&
         std::string_view(arguments[2]) == "--help" && std::string_view(arguments[3]) == "config";
}

/// `cohort submit … -- WORDS`: these are for another program. Cut off from the command line.
std::vector<std::string> words_for_others(int& argc, std::span<char*> arguments) {
  if (arguments.size() < 2 || std::string_view(arguments[1]) != "submit") return {};
  const auto divider = std::find(arguments.begin(), arguments.end(), std::string_view("--"));
  if (divider == arguments.end()) return {};
  argc = static_cast<int>(divider - arguments.begin());
  return {divider + 1, arguments.end()};
}

int run_program(int argc, char** argv) {
  command_line::Command app({"cohort",
                             "Trains contextual vision transformers on HPC clusters",
                             {"mpirun -n 4 cohort train configs/base.yaml data.path=data/mine",
                              "cohort eval --run runs/x --split test", "cohort report runs/x runs/y"},
                             command_line::endings_of_training()});
  app.require_subcommand(1);
  Job job;
  for (const auto add : {add_train, add_finetune, add_downstream, add_eval, add_predict, add_extract, add_knn,
                         add_probe, add_explain, add_embed, add_export, add_checkpoint, add_report,
                         add_submit, add_status, add_doctor, add_configs, add_docs})
    add(app, job);
  const std::span<char*> arguments(argv, static_cast<std::size_t>(argc));
  job.rest = words_for_others(argc, arguments);
  std::string help_config = "--help-config";
  if (asks_for_keys(arguments)) {
    arguments[2] = help_config.data();
    argc = 3;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      return comm::run_without_ranks(argc, argv, command_line::full_name(command_line::chosen_command(app)),
                                     [&] { return static_cast<ExitCode>(app.exit(error)); });
    }
    return refuse(argc, argv, app, error);
  }
  return run(argc, argv, job);
}

}  // namespace
}  // namespace cohort::jobs

int cohort::run_cohort(int argc, char** argv) {
  keep_freed_memory();
  return jobs::run_program(argc, argv);
}
