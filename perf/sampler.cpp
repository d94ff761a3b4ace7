#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "cohort/core/random.h"
#include "cohort/data/context_sampler.h"

#include "commands.h"
#include "resident_peak.h"
#include "table.h"

namespace cohort::perf {
namespace {

struct SamplerOptions {
  std::int64_t images = 100'000'000, contexts = 10'000;
  std::int64_t ranks = 4096, groups = 1, group_images = 32;  ///< groups on each rank in a step
  double balance = 1.0;
  std::int64_t block = 1;
  Output output;
};

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Contexts of 0.5 to 1.5 times the mean size, one after another, as rows of a dataset lie.
std::vector<data::ContextRun> runs_of(const SamplerOptions& options) {
  std::vector<data::ContextRun> runs;
  RandomStream random({.seed = 1, .purpose = Purpose::synthetic});
  const std::int64_t mean = options.images / options.contexts;
  std::int64_t row = 0;
  for (std::int64_t context = 0; context < options.contexts; ++context) {
    const std::int64_t rows =
        mean / 2 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(mean) + 1));
    runs.push_back({static_cast<std::int32_t>(context), row, rows});
    row += rows;
  }
  return runs;
}

/// Rows outside their context, and groups of another size than was asked for.
std::int64_t count_wrong(const data::StepPlan& plan, const std::vector<data::ContextRun>& runs,
                         std::int64_t images) {
  std::int64_t wrong = 0;
  for (const data::Group& group : plan) {
    const data::ContextRun& run = runs[static_cast<std::size_t>(group.context)];
    if (std::ssize(group.rows) != images) ++wrong;
    for (const std::int64_t row : group.rows) wrong += row < run.first || row >= run.first + run.rows ? 1 : 0;
  }
  return wrong;
}

/// Planning an epoch for one of many ranks, without any data. ExitCode::bug if a plan is wrong.
ExitCode sampler(const SamplerOptions& options, comm::Communicator& ranks) {
  const data::SamplerConfig config{.groups_per_step = options.ranks * options.groups,
                                   .images_per_group = options.group_images,
                                   .group_by = "",
                                   .small_contexts = data::SmallContexts::drop,
                                   .balance = options.balance,
                                   .block = options.block};
  Results results("sampler", options.output, ranks);
  Table& table = results.table(
      "",
      {"built: the sampler of a run, from runs of contexts; epoch: plans of all its steps for one rank;",
       "peak: memory that both take"},
      {{"images", "", 12},
       {"contexts", "", 9, 0, Role::key},
       {"ranks", "", 6, 0, Role::key},
       {"steps", "", 8, 0, Role::key},
       {"built", "ms", 8, 1},
       {"epoch", "ms", 9, 1},
       {"image", "ns", 7, 1, Role::lower},
       {"peak", "MiB", 7, 1},
       {"#wrong", "", 6}});
  const std::vector<data::ContextRun> runs = runs_of(options);
  const ResidentPeak peak;
  const auto begin = Clock::now();
  const data::ContextSampler planned(runs, {}, config, 1);
  const double built = seconds_since(begin);
  std::int64_t images = 0, wrong = 0;
  double planning = 0;
  std::vector<double> of_steps;  // ns an image
  for (std::int64_t step = 0; step < planned.steps_per_epoch(); ++step) {
    const auto start = Clock::now();
    const data::StepPlan plan =
        planned.plan(0, step, static_cast<int>(options.ranks) - 1, static_cast<int>(options.ranks));
    const double seconds = seconds_since(start);
    const std::int64_t planned_images = std::ssize(plan) * options.group_images;
    planning += seconds;
    images += planned_images;
    of_steps.push_back(seconds * 1e9 / static_cast<double>(planned_images));
    wrong += count_wrong(plan, runs, options.group_images);
  }
  table.add({planned.images(), options.contexts, options.ranks, planned.steps_per_epoch(), built * 1e3,
             planning * 1e3, planning * 1e9 / static_cast<double>(images), peak.mib(), wrong},
            of_steps);
  results.finish();
  return wrong == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace

void add_sampler(CLI::App& app, Job& job) {
  const auto options = std::make_shared<SamplerOptions>();
  CLI::App* command =
      &add_command(app, {"sampler",
                         "Plan an epoch for one of many ranks: time and memory",
                         {"cohort-perf sampler --images 100000000 --contexts 100000 --ranks 1024"},
                         endings_on_ranks()});
  const auto add = [&](const char* name, std::int64_t& value, const char* text) {
    command->add_option(name, value, text)->check(CLI::PositiveNumber)->capture_default_str();
  };
  add("--images", options->images, "in the dataset");
  add("--contexts", options->contexts, "that they belong to");
  add("--ranks", options->ranks, "that train");
  add("--groups", options->groups, "on each rank in a step");
  add("--group-images", options->group_images, "in a group");
  add("--block", options->block, "as sampler.block");
  command->add_option("--balance", options->balance, "as sampler.balance")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  add_output(command, options->output);
  command->callback([options, &job] {
    job.with_ranks = [options](comm::Communicator& ranks) { return sampler(*options, ranks); };
  });
}

}  // namespace cohort::perf
