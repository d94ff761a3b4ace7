#include "command_line/docs.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cohort/config/load.h"
#include "cohort/train/run_config.h"

#include "commands.h"

namespace cohort::jobs {
namespace {

std::vector<std::string> config_keys() {
  train::RunConfig defaults;
  std::vector<std::string> keys;
  const config::Fields fields(defaults);
  for (const config::Field& field : fields.list()) keys.push_back(field.key);
  return keys;
}

}  // namespace

void add_docs(CLI::App& app, Job& job) {
  const auto choose = [&job](std::function<ExitCode()> print) {
    job.program = "cohort docs";
    job.alone = std::move(print);
  };
  CLI::App& docs = command_line::add_docs(app, choose, config_keys);
  add_command(docs, {"config",
                     "Print docs/config.md: every key of a configuration",
                     {"cohort docs config"},
                     command_line::endings_alone()})
      .callback([choose] {
        choose([] {
          fmt::print("{}", train::config_document());
          return ExitCode::done;
        });
      });
}

}  // namespace cohort::jobs
