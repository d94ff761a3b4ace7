#include <algorithm>
#include <climits>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/command.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"
#include "cohort/data/context_sampler.h"
#include "cohort/train/metrics.h"
#include "cohort/train/run_config.h"
#include "cohort/train/trainer.h"

#include "commands.h"
#include "job_records.h"
#include "site.h"
#include "slurm.h"
#include "slurm_options.h"
#include "slurm_script.h"
#include "sweep.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

struct SubmitOptions {
  std::string config, after;
  std::vector<std::string> overrides, array, stages{"train"}, rest;
  SlurmOptions slurm;
};

const std::vector<std::string> kStages{"convert", "verify", "train", "probe", "report"};

/// A run that the jobs are about: all of them, or an element of an array.
struct PlannedRun {
  std::vector<std::string> overrides;  ///< of the element
  train::RunConfig config;             ///< run_dir: its folder
};

/// What the command line, the configurations and the site amount to.
struct Plan {
  const SubmitOptions& options;
  fs::path site_file;  ///< empty: none
  SiteConfig site;
  fs::path base;  ///< run_dir of the configuration; the runs' folders are this or below
  std::vector<PlannedRun> runs;
  Resources resources;
  bool array = false;
  std::string config_text{};  ///< the configuration with the overrides of the command line
  fs::path config_file{};     ///< its copy, which training reads
};

std::vector<PlannedRun> plan_runs(const SubmitOptions& options, const fs::path& base) {
  std::vector<PlannedRun> runs;
  for (const SweepElement& element : sweep(options.array)) {
    std::vector<std::string> all = options.overrides, own = element.overrides;
    if (!options.array.empty()) own.push_back("run_dir=" + (base / element.name).string());
    all.insert(all.end(), own.begin(), own.end());
    runs.push_back({own, train::load_run_config(options.config, all)});
  }
  return runs;
}

/// What would end, or go on for ever, only once the job has begun.
void check_training(const train::RunConfig& config, const Resources& resources) {
  if (config.resume != "auto") {
    throw UsageError(
        {fmt::format("resume is '{}', so that a job that was requeued could not go on", config.resume),
         "resume", "set resume=auto"});
  }
  const auto end = train::end_of_run(config.run_dir / "metrics.jsonl");
  if (end && (end->reason.empty() || end->reason == train::reason_to_end_early(config))) {
    throw UsageError({"the run folder holds a finished run", config.run_dir.string(),
                      "choose another run_dir, or remove the folder"});
  }
  if (resources.time <= config.train.stop.margin) {
    throw UsageError(
        {fmt::format("the job gets {}, no more than train.stop.margin ({}): it would stop at once",
                     format_duration(resources.time), format_duration(config.train.stop.margin)),
         "--time", "give more time, or lower train.stop.margin"});
  }
  data::check_ranks(config.sampler, static_cast<int>(std::min<std::int64_t>(resources.ranks(), INT_MAX)));
}

/// A job that writes into a run folder, and has not ended.
void check_no_job(const Plan& plan) {
  std::vector<std::string> jobs;
  for (const PlannedRun& run : plan.runs) {
    if (const auto record = last_training_job(run.config.run_dir)) jobs.push_back(record->job);
  }
  for (const auto& [job, state] : job_states(jobs)) {
    const bool at_work = state == "RUNNING" || state == "PENDING" || state == "COMPLETING" ||
                         state == "CONFIGURING" || state == "SUSPENDED" || state == "REQUEUED";
    if (!at_work || job.substr(0, job.find('_')) == plan.options.after) continue;
    throw UsageError(
        {fmt::format("job {} of this run is {}: two jobs would write into one folder", job, state),
         plan.base.string(), fmt::format("wait for it, scancel {0}, or continue it with --after {0}", job)});
  }
}

bool has_stage(const SubmitOptions& options, const char* stage) {
  return std::find(options.stages.begin(), options.stages.end(), stage) != options.stages.end();
}

/// Beside the script. One that an earlier job may still read, when it goes back into the queue, is left
/// alone.
fs::path place_of_copy(const fs::path& folder, const std::string& text) {
  for (int number = 1;; ++number) {
    const fs::path file = folder / (number == 1 ? "train.yaml" : fmt::format("train-{}.yaml", number));
    refuse_no_file(file);
    if (!fs::exists(file) || read_file(file, kMostSettings, Links::refuse) == text) return file;
  }
}

Plan make_plan(const SubmitOptions& options) {
  const fs::path site = site_file(options.slurm.site);
  const train::RunConfig config = train::load_run_config(options.config, options.overrides);
  Plan plan{options, site, load_site(site), config.run_dir, {}, {}, !options.array.empty()};
  plan.config_text = train::dump_run_config(config);
  plan.config_file = place_of_copy(plan.base / "slurm", plan.config_text);
  plan.runs = plan_runs(options, plan.base);
  plan.resources = choose_resources(options.slurm, plan.site);
  const bool trains = has_stage(options, "train"), computes = trains || has_stage(options, "probe");
  for (const PlannedRun& run : plan.runs) {
    if (computes) check_device(run.config.device, plan.resources);
    if (trains) check_training(run.config, plan.resources);
  }
  if (trains && !options.slurm.dry_run) check_no_job(plan);
  return plan;
}

// ---- the script of a stage

void join_words(std::vector<std::string>& words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
}

void plan_training(JobScript& script, const Plan& plan) {
  const train::RunConfig& config = plan.runs.front().config;
  script.command = {program_of(plan.site, "cohort").string(), "train", plan.config_file.string()};
  // A job that holds GPUs must not quietly leave them alone.
  if (config.device == train::Device::automatic && plan.resources.gpus_per_node > 0)
    script.command.emplace_back("device=cuda");
  for (const PlannedRun& run : plan.runs) script.runs.push_back({run.config.run_dir, run.overrides});
  script.stop_signal = stop_signal(config);
  script.stop_margin = config.train.stop.margin;
}

void plan_probe(JobScript& script, const Plan& plan) {
  script.command = {program_of(plan.site, "cohort").string(), "probe"};
  for (const PlannedRun& run : plan.runs)
    script.runs.push_back({run.config.run_dir, {"--run", run.config.run_dir.string()}});
}

void plan_report(JobScript& script, const Plan& plan) {
  script.command = {program_of(plan.site, "cohort").string(), "report", "--out",
                    (plan.base / "report.html").string(), "--overwrite"};
  for (const PlannedRun& run : plan.runs) script.command.push_back(run.config.run_dir.string());
  script.resources.nodes = script.resources.ranks_per_node = 1;
  script.launched = false;
}

JobScript plan_stage(const std::string& stage, const Plan& plan) {
  JobScript script;
  script.name = fmt::format("{}-{}", stage, plan.base.filename().string());
  script.folder = fs::current_path();
  script.resources = plan.resources;
  if (stage == "train") plan_training(script, plan);
  if (stage == "probe") plan_probe(script, plan);
  if (stage == "report") plan_report(script, plan);
  if (stage == "convert") script.command = {program_of(plan.site, "cohort-data").string(), "convert"};
  if (stage == "verify")
    script.command = {program_of(plan.site, "cohort-data").string(), "verify",
                      plan.runs.front().config.data.path.string()};
  script.array = plan.array && !script.runs.empty();
  if (script.runs.empty()) script.runs.push_back({plan.base, {}});
  if (stage != "train" && stage != "probe") script.resources.gpus_per_node = 0;
  if (stage == plan.options.stages.front()) join_words(script.command, plan.options.rest);
  const fs::path logs = fs::absolute(plan.base / "slurm").lexically_normal();
  script.log = sbatch_path(logs / stage) + (script.array ? "-%A_%a.log" : "-%j.log");
  return script;
}

// ---- from script to job

void write_copy(const Plan& plan) {
  make_script_folder(plan.base);
  write_file_atomically(plan.config_file, plan.config_text);
  fmt::print("config: {}\n", plan.config_file.string());
}

void record_job(const std::string& stage, const std::string& job, const JobScript& script) {
  for (std::size_t i = 0; i < script.runs.size(); ++i)
    add_job_record(script.runs[i].folder, {script.array ? fmt::format("{}_{}", job, i) : job, stage});
}

std::vector<std::string> dependency(const std::string& job) {
  if (job.empty()) return {};
  return {"--dependency=afterok:" + job, "--kill-on-invalid-dep=yes"};
}

ExitCode dry_run(const Plan& plan) {
  for (const std::string& stage : plan.options.stages)
    fmt::print("{}\n", batch_script(plan_stage(stage, plan), plan.site));
  return ExitCode::done;
}

ExitCode submit(const SubmitOptions& options) {
  const Plan plan = make_plan(options);
  if (options.slurm.dry_run) return dry_run(plan);
  fmt::print("site: {}\n",
             plan.site_file.empty() ? "the defaults, as there is no site file" : plan.site_file.string());
  struct Written {
    JobScript script;
    fs::path file;
  };
  std::vector<Written> written;
  if (has_stage(options, "train")) write_copy(plan);
  for (const std::string& stage : options.stages) {
    JobScript script = plan_stage(stage, plan);
    const fs::path file = write_script(plan.base, stage, batch_script(script, plan.site));
    describe_script(stage, script, plan.site);
    fmt::print("  script: {}\n  check:  {}\n", file.string(), check_script(file, {}));
    written.push_back({std::move(script), file});
  }
  std::string job = options.after;
  for (std::size_t i = 0; i < written.size(); ++i) {
    const std::string before = job;
    job = submit_script(written[i].file, dependency(before));
    record_job(options.stages[i], job, written[i].script);
    fmt::print("job {}: {}{}\n  log:    {}\n", job, options.stages[i],
               before.empty() ? "" : ", after job " + before, log_of(written[i].script, job));
  }
  fmt::print("  status: cohort status {}\n", shell_quoted(plan.base.string()));
  return ExitCode::done;
}

}  // namespace

void add_submit(CLI::App& app, Job& job) {
  const auto options = std::make_shared<SubmitOptions>();
  using command_line::with;
  CLI::App* command = &add_command(
      app,
      {"submit",
       "Hand training, and what comes before and after it, to Slurm",
       {"cohort submit configs/x.yaml --nodes 4 --gpus-per-node 8 --time 12h",
        "cohort submit configs/x.yaml --time 2h --array optimizer.lr=1e-3,3e-4 --stage verify,train,report",
        "cohort submit x.yaml --stage convert,train --time 1h -- images photos --out data/x"},
       with(with(command_line::endings_alone(), {ExitCode::done, "submitted"}),
            {ExitCode::usage, "bad usage, configuration or site file, or Slurm refuses"}),
       "What stands behind -- goes to the program of the first stage. Scripts and logs land in the run's "
       "folder, in slurm/. A job that is preempted, or whose time ends, saves and goes back into the queue "
       "(docs/operations.md)."});
  command->add_option("CONFIG", options->config, "configuration: a YAML file, or a recipe (cohort configs)")
      ->required();
  command->add_option("OVERRIDE", options->overrides,
                      "KEY=VALUE, replaces an option of the file: optimizer.lr=1e-3");
  add_resource_options(*command, options->slurm).required();
  command
      ->add_option(
          "--array", options->array,
          "KEY=A,B: a job array with an element, and a run folder, for each value; given several times, for "
          "each combination")
      ->allow_extra_args(false);
  command->add_option("--after", options->after, "number of a job that has to succeed first")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--stage", options->stages,
                   "convert, verify, train, probe, report: one job each, every one after the success of the "
                   "one before; "
                   "without it train")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(kStages));
  command->callback([options, &job] {
    options->rest = job.rest;
    job.program = "cohort submit";
    job.alone = [options] { return submit(*options); };
  });
}

}  // namespace cohort::jobs
