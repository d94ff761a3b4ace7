#include <exception>
#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include "cohort/comm/session.h"

#include "benchmarks.h"

namespace {

using namespace cohort;
using Benchmark = std::function<ExitCode(comm::Communicator&)>;

void add_collectives(CLI::App& app, perf::CollectivesOptions& options, Benchmark& chosen) {
  auto* command = app.add_subcommand("collectives", "Collectives over sizes, against plain MPI and memcpy");
  command->add_option("--op", options.operations, "which: all_reduce all_gather reduce_scatter broadcast")
      ->capture_default_str();
  command->add_option("--min", options.smallest, "smallest size in bytes, for example 4K")
      ->transform(CLI::AsSizeValue(false));
  command->add_option("--max", options.largest, "largest size in bytes")->transform(CLI::AsSizeValue(false));
  command->add_option("--factor", options.factor, "from one size to the next")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command->add_option("--seconds", options.seconds, "time for each measurement")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--json", options.json, "one JSON object a line instead of the table");
  command->callback(
      [&] { chosen = [&](comm::Communicator& ranks) { return perf::collectives(options, ranks); }; });
}

void add_loader(CLI::App& app, perf::LoaderOptions& options, Benchmark& chosen) {
  auto* command =
      app.add_subcommand("loader", "Reading a dataset and making views, against pread of the same bytes");
  command->add_option("dataset", options.dataset, "folder of the dataset")->required();
  command->add_option("--split", options.split, "which split")->capture_default_str();
  command->add_option("--batch", options.images, "images in a batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--seconds", options.seconds, "time for each measurement")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--json", options.json, "one JSON object a line instead of the table");
  command->callback(
      [&] { chosen = [&](comm::Communicator& ranks) { return perf::loader(options, ranks); }; });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures the parts of Cohort on this machine: mpirun -n 4 cohort-perf collectives",
               "cohort-perf");
  app.set_version_flag("--version", "cohort-perf " COHORT_VERSION);
  app.require_subcommand(1);
  perf::CollectivesOptions collectives;
  perf::LoaderOptions loader;
  Benchmark chosen;
  add_collectives(app, collectives, chosen);
  add_loader(app, loader, chosen);
  std::string wrong_usage;
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    wrong_usage = error.what();
  }
  return comm::run_ranks(argc, argv, "cohort-perf", [&](comm::Communicator& ranks) {
    comm::together(ranks, [&] {
      if (!wrong_usage.empty()) throw UsageError({wrong_usage, "command line", "see cohort-perf --help"});
    });
    return chosen(ranks);
  });
}
