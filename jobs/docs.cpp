#include <memory>

#include <fmt/format.h>

#include "cohort/train/run_config.h"

#include "commands.h"

namespace cohort::jobs {

void add_docs(CLI::App& app, Job& job) {
  CLI::App* command = app.add_subcommand("docs", "Print generated documentation");
  command->require_subcommand(1);
  command->add_subcommand("config", "docs/config.md: every key of a configuration")->callback([&job] {
    job.program = "cohort docs";
    job.alone = [] {
      fmt::print("{}", train::config_document());
      return ExitCode::done;
    };
  });
}

}  // namespace cohort::jobs
