// cohort-perf published: predictions of cohort-perf plan beside published training runs.
#include <fmt/format.h>

#include "commands.h"
#include "plan/plan.h"

namespace cohort::perf {
namespace {

ExitCode published() {
  fmt::print(
      "# Predictions beside published figures: language models under FSDP, tokens/s of a device "
      "(docs/plan.md)\n");
  fmt::print("# {:>12} {:>26} {:>10} {:>10} {:>8}\n", "source", "case", "published", "predicted", "error");
  for (const PublishedComparison& one : compare_published()) {
    fmt::print("  {:>12} {:>26} {:>10.0f} {:>10.0f} {:>+7.1f}%\n", one.source, one.what, one.published,
               one.predicted, 100 * (one.predicted / one.published - 1));
  }
  return ExitCode::done;
}

}  // namespace

void add_published(CLI::App& app, Job& job) {
  CLI::App* command =
      &add_command(app, {"published",
                         "Show predictions of cohort-perf plan beside published training runs",
                         {"cohort-perf published"},
                         endings_alone()});
  command->callback([&job] { job.alone = published; });
}

}  // namespace cohort::perf
