#include "cohort/report/report.h"

#include <filesystem>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/terminal.h"
#include "cohort/train/run_owner.h"

#include "case_pictures.h"
#include "commands.h"
#include "new_file.h"

namespace cohort::jobs {
namespace {

struct ReportOptions {
  std::vector<std::filesystem::path> runs;
  std::string out;
  bool seeds = false, overwrites = false;
};

ExitCode report_runs(const ReportOptions& options) {
  refuse_existing({options.out}, options.overwrites);
  const auto owners = train::own_runs_of({options.out}, "cohort report");
  const auto columns = terminal_columns();
  fmt::print(
      "{}", options.seeds ? report::seed_table(options.runs, columns) : report::table(options.runs, columns));
  if (options.out.empty()) return ExitCode::done;
  report::write_html(options.runs, options.out, pictures_of_datasets());
  fmt::print("{}\n", options.out);
  return ExitCode::done;
}

}  // namespace

void add_report(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ReportOptions>();
  CLI::App* command = &add_command(
      app,
      {"report",
       "Compare runs: a table, and a page with curves and scores per context",
       {"cohort report runs/x runs/y --out report.html", "cohort report --seeds runs/x-seed1 runs/x-seed2"},
       command_line::endings_alone()});
  command->add_option("RUN", options->runs, "folders of runs")->required();
  command->add_option("--out", options->out, "HTML page to write");
  add_overwrite(*command, options->overwrites);
  command->add_flag(
      "--seeds", options->seeds,
      "one line for the runs that differ in seed and run_dir alone: means with 95 % intervals, and "
      "differences from the first recipe, seed by seed");
  command->callback([options, &job] {
    job.program = "cohort report";
    job.alone = [options] { return report_runs(*options); };
  });
}

}  // namespace cohort::jobs
