// cohort-perf scaling: cohort-perf step on several numbers of ranks.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/command.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/data/context_sampler.h"
#include "cohort/train/run_config.h"

#include "commands.h"
#include "scaling_fit.h"
#include "statistics.h"
#include "step_options.h"
#include "support/json.h"
#include "table.h"

namespace cohort::perf {
namespace {

struct ScalingOptions {
  StepOptions step;  ///< its output is that of scaling
  std::vector<std::int64_t> ranks{1, 2};
  std::string mode = "strong";      ///< or weak
  std::int64_t repeats = 3;         ///< runs with each number of ranks
  std::string launcher = "mpirun";  ///< words before -n
  std::int64_t patience = 3600;     ///< seconds for a run
};

constexpr double kError = 0.05;  // of 95 % intervals

/// Runs with one number of ranks.
struct Runs {
  std::int64_t images = 0;                     ///< a step
  bool shares_cores = false;                   ///< more ranks than the hosts have cores
  std::vector<double> times, communication;    ///< ms a step, one for each run
  std::vector<double> images_per_second, mfu;  ///< %
};

struct Plan {
  const ScalingOptions& options;
  std::vector<std::int64_t> ranks;              ///< ascending
  std::map<std::int64_t, std::int64_t> groups;  ///< of a step, by ranks
};

Plan make_plan(const ScalingOptions& options) {
  Plan plan{options, options.ranks, {}};
  std::sort(plan.ranks.begin(), plan.ranks.end());
  plan.ranks.erase(std::unique(plan.ranks.begin(), plan.ranks.end()), plan.ranks.end());
  train::RunConfig config = train::load_run_config(options.step.config, options.step.overrides);
  const std::int64_t groups = config.sampler.groups_per_step;
  for (const std::int64_t ranks : plan.ranks) {
    if (options.mode == "weak") {
      if (groups % plan.ranks.front() != 0)
        data::check_ranks(config.sampler, static_cast<int>(plan.ranks.front()));
      config.sampler.groups_per_step = groups / plan.ranks.front() * ranks;
    }
    data::check_ranks(config.sampler, static_cast<int>(ranks));
    plan.groups[ranks] = config.sampler.groups_per_step;
  }
  return plan;
}

std::vector<std::string> command_of(const Plan& plan, std::int64_t ranks) {
  const StepOptions& step = plan.options.step;
  std::vector<std::string> words;
  std::istringstream launcher(plan.options.launcher);
  for (std::string word; launcher >> word;) words.push_back(word);
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  for (const std::string& word :
       {std::string("-n"), fmt::format("{}", ranks), program, std::string("step"), step.config})
    words.push_back(word);
  words.insert(words.end(), step.overrides.begin(), step.overrides.end());
  words.push_back(fmt::format("sampler.groups_per_step={}", plan.groups.at(ranks)));
  for (const std::string& word : {std::string("--json"), fmt::format("--steps={}", step.steps),
                                  fmt::format("--warmup={}", step.warmup), "--dir=" + step.folder})
    words.push_back(word);
  if (!step.synthetic.empty()) words.push_back("--synthetic=" + step.synthetic);
  if (step.peak > 0) words.push_back(fmt::format("--peak={}", step.peak));
  return words;
}

/// The line of the summary that a run printed, of kind "header" or "row".
Json summary_of(const std::string& output, const std::string& kind, const std::string& command) {
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    Json row = Json::parse(line, nullptr, false);
    if (row.is_object() && row.value("benchmark", "") == "step summary" && row.value("kind", "") == kind)
      return row;
  }
  throw RankError({"a run printed no summary", command, "run this command by itself to see what it prints"});
}

void run(const Plan& plan, std::int64_t ranks, Runs& runs) {
  const std::vector<std::string> words = command_of(plan, ranks);
  const CommandResult result = run_command(words, std::chrono::seconds(plan.options.patience));
  const std::string command = shell_quoted(words);
  if (result.status == 127) {
    throw UsageError({fmt::format("there is no program '{}', which would start the ranks", words.front()),
                      "--launcher", "give mpirun, or srun within a job of Slurm"});
  }
  if (result.status != 0) {
    throw RankError({fmt::format("the run on {} ranks ended with code {}", ranks, result.status), command,
                     "its own words: " + result.errors.substr(0, 2000)});
  }
  const Json header = summary_of(result.output, "header", command),
             row = summary_of(result.output, "row", command);
  runs.shares_cores = ranks > header.at("hosts").get<std::int64_t>() * header.at("cores").get<std::int64_t>();
  runs.images = row.at("images_a_step");
  runs.times.push_back(row.at("step_p50_ms"));
  runs.communication.push_back(row.at("exposed_ms"));
  runs.images_per_second.push_back(row.at("rate_images_s"));
  runs.mfu.push_back(row.at("MFU"));
}

/// By ranks. Every other repetition goes from many ranks to few, so that a drift of the machine's speed meets
/// all alike.
std::map<std::int64_t, Runs> run_all(const Plan& plan) {
  std::map<std::int64_t, Runs> all;
  for (std::int64_t repeat = 0; repeat < plan.options.repeats; ++repeat) {
    std::vector<std::int64_t> order = plan.ranks;
    if (repeat % 2 == 1) std::reverse(order.begin(), order.end());
    for (const std::int64_t ranks : order) {
      run(plan, ranks, all[ranks]);
      fmt::print(stderr, "run {}/{} on {} ranks: {:.2f} ms a step\n", repeat + 1, plan.options.repeats, ranks,
                 all[ranks].times.back());
    }
  }
  return all;
}

double mean(const std::vector<double>& values) {
  return mean_interval(values, kError).value;
}

/// Part of a step spent on waiting for other ranks, in percent: the middle one of the runs.
double waiting_share(const Runs& runs) {
  std::vector<double> shares;
  for (std::size_t i = 0; i < runs.times.size(); ++i)
    shares.push_back(100 * runs.communication[i] / runs.times[i]);
  return median(shares);
}

/// Of runs in which each rank had a core, unless there are none.
ScalingFit fit(const std::map<std::int64_t, Runs>& all, bool weak) {
  std::vector<ScalingPoint> points;
  for (const auto& [ranks, runs] : all) {
    if (points.empty() || !runs.shares_cores)
      points.push_back({static_cast<double>(ranks), median(runs.times), median(runs.communication)});
  }
  return fit_scaling(points, weak);
}

void add_runs(Results& results, const Plan& plan, const std::map<std::int64_t, Runs>& all,
              const ScalingFit& fitted) {
  Table& table = results.table(
      "",
      {fmt::format("{} scaling of {}: mean of {} runs with each number of ranks, in turns, 95 % intervals by "
                   "Student's t distribution;",
                   plan.options.mode, plan.options.step.config, plan.options.repeats),
       "efficiency: images a second of a rank over those on the fewest ranks; communication: waiting for "
       "other ranks, of the step"},
      {{"mode", "", 6, 0, Role::key},
       {"ranks", "", 5, 0, Role::key},
       {"images", "a step", 8},
       {"step", "ms", 10, 2, Role::lower},
       {"from", "ms", 10, 2},
       {"to", "ms", 10, 2},
       {"rate", "images/s", 10, 1},
       {"efficiency", "%", 10, 1},
       {"at least", "%", 8, 1},
       {"at most", "%", 8, 1},
       {"communication", "%", 13, 1},
       {"MFU", "%", 6, 1},
       {"fit", "ms", 10, 2}},
      {{"time of a step", "ranks", {"step", "fit"}}, {"efficiency", "ranks", {"efficiency"}}});
  const auto& [fewest, base] = *all.begin();
  for (const auto& [ranks, runs] : all) {
    const Interval time = mean_interval(runs.times, kError);
    const double share = 100.0 * static_cast<double>(fewest) / static_cast<double>(ranks);
    const Interval ratio = ranks == fewest
                               ? Interval{1, 1, 1}
                               : ratio_interval(base.images_per_second, runs.images_per_second, kError);
    table.add({plan.options.mode, ranks, runs.images, time.value, time.low, time.high,
               mean(runs.images_per_second), share * ratio.value, share * ratio.low, share * ratio.high,
               waiting_share(runs), mean(runs.mfu), fitted.time(static_cast<double>(ranks))},
              runs.times);
  }
}

void add_fit(Results& results, const ScalingFit& fitted, bool weak) {
  Table& table =
      results.table("fit",
                    {weak ? "T(n) = constant + bandwidth (n-1)/n + latency log2 n, by least squares"
                          : "T(n) = serial + parallel/n + bandwidth (n-1)/n + latency log2 n, by least "
                            "squares (Amdahl 1967, "
                            "and communication)"},
                    {{"term", "", 12, 0, Role::key}, {"time", "ms", 10, 3, Role::lower}});
  table.add({weak ? "constant" : "serial", fitted.serial});
  if (!weak) table.add({"parallel", fitted.parallel});
  table.add({"bandwidth", fitted.bandwidth});
  table.add({"latency", fitted.latency});
}

void remark(Results& results, const Plan& plan, const std::map<std::int64_t, Runs>& all,
            const ScalingFit& fitted) {
  if (plan.options.mode == "strong" && plan.ranks.size() > 1) {
    results.remark(fmt::format("serial fraction {:.2f} % of a step on one rank: by Amdahl's law {}",
                               100 * fitted.serial_fraction(),
                               fitted.serial_fraction() > 0
                                   ? fmt::format("at most {:.1f} times as fast", 1 / fitted.serial_fraction())
                                   : "no limit"));
  }
  if (all.rbegin()->second.shares_cores)
    results.remark("where there are more ranks than cores, ranks share them: the fit leaves these out");
}

/// Without ranks: starts cohort-perf step on each number of ranks, in turns. How time and efficiency change,
/// with confidence intervals, and a fit of what is serial, parallel and communication. Throws UsageError, and
/// RankError when a run fails.
ExitCode scaling(const ScalingOptions& options) {
  const Plan plan = make_plan(options);
  const std::map<std::int64_t, Runs> all = run_all(plan);
  const bool weak = options.mode == "weak";
  const ScalingFit fitted = fit(all, weak);
  Results results("scaling", options.step.output);
  add_runs(results, plan, all, fitted);
  if (all.size() > 1) add_fit(results, fitted, weak);
  remark(results, plan, all, fitted);
  results.finish();
  return ExitCode::done;
}

}  // namespace

void add_scaling(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ScalingOptions>();
  CLI::App* command = &add_command(
      app, {"scaling",
            "Training steps of a configuration on several numbers of ranks: it starts them itself",
            {"cohort-perf scaling configs/base.yaml --ranks 1,2,4 --mode weak"},
            endings_alone()});
  add_step_options(command, options->step);
  command->add_option("--ranks", options->ranks, "numbers of ranks: 1,2,4")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--mode", options->mode,
                   "strong: the same step on more ranks; weak: a step that grows with them")
      ->check(CLI::IsMember({"strong", "weak"}))
      ->capture_default_str();
  command->add_option("--repeats", options->repeats, "runs with each number of ranks, in turns")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option("--launcher", options->launcher,
                   "what starts ranks, before -n N: mpirun with its options, or srun within a Slurm job")
      ->capture_default_str();
  command->add_option("--patience", options->patience, "seconds that a run may take")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([options, &job] { job.alone = [options] { return scaling(*options); }; });
}

}  // namespace cohort::perf
