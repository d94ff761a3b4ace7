#include "downstream_jobs.h"

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"

#include "job_records.h"
#include "slurm.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

/// A job, and which end of the one before it it waits for.
struct StudyJob {
  std::string stage;
  JobScript script;
  std::string condition;  ///< "afterok" or "afterany"
};

JobScript script_of(const std::string& stage, const fs::path& out, const SiteConfig& site,
                    const Resources& resources) {
  JobScript script;
  script.name = fmt::format("{}-{}", stage, out.filename().string());
  script.folder = fs::current_path();
  script.command = {program_of(site, "cohort").string(), "downstream", "--out", out.string()};
  script.resources = resources;
  script.runs = {{out, {}}};
  script.log = sbatch_path(out / "slurm" / stage) + "-%j.log";
  return script;
}

/// An array. A run that is asked to stop saves, and its element goes back into the queue.
StudyJob array_of(const std::string& stage, const Study& study, const std::vector<StudyCell>& cells,
                  const fs::path& out, JobScript script) {
  const train::RunConfig config = train::load_run_config(task_file(out, study.tasks.front()));
  script.runs.clear();
  for (const StudyCell& cell : cells)
    script.runs.push_back({out / cell_name(study, cell), {"--cell", cell_name(study, cell)}});
  script.array = true;
  script.log = sbatch_path(out / "slurm" / stage) + "-%A_%a.log";
  script.stop_signal = stop_signal(config);
  script.stop_margin = config.train.stop.margin;
  return {stage, std::move(script), stage == "search" ? "afterok" : "afterany"};
}

std::vector<StudyJob> jobs_of(const Study& study, const fs::path& out, const SiteConfig& site,
                              const Resources& resources) {
  std::vector<StudyJob> jobs;
  JobScript prepare = script_of("prepare", out, site, resources);
  prepare.command.emplace_back("--prepare");
  prepare.resources.gpus_per_node = 0;
  jobs.push_back({"prepare", std::move(prepare), ""});
  const auto add = [&](const std::string& stage, const std::vector<StudyCell>& cells) {
    if (!cells.empty())
      jobs.push_back(array_of(stage, study, cells, out, script_of(stage, out, site, resources)));
    if (jobs.size() == 2) jobs.back().condition = "afterok";
  };
  add("search", search_cells(study));
  add("runs", run_cells(study));
  JobScript table = script_of("table", out, site, resources);
  table.command.emplace_back("--table");
  table.resources.nodes = table.resources.ranks_per_node = 1;
  table.resources.gpus_per_node = 0;
  table.launched = false;
  jobs.push_back({"table", std::move(table), "afterany"});
  return jobs;
}

std::vector<std::string> dependency_on(const std::string& job, const std::string& condition) {
  if (job.empty()) return {};
  return {fmt::format("--dependency={}:{}", condition, job), "--kill-on-invalid-dep=yes"};
}

}  // namespace

ExitCode submit_study(const StudyOptions& options, const SlurmOptions& slurm) {
  const SiteConfig site = load_site(site_file(slurm.site));
  const Resources resources = choose_resources(slurm, site);
  const Study study = plan_study(options);
  const fs::path out = fs::absolute(options.out).lexically_normal();
  for (const StudyTask& task : study.tasks)
    check_device(train::load_run_config(task_file(out, task)).device, resources);
  const std::vector<StudyJob> jobs = jobs_of(study, out, site, resources);
  if (slurm.dry_run) {
    for (const StudyJob& job : jobs) fmt::print("{}\n", batch_script(job.script, site));
    return ExitCode::done;
  }
  std::vector<fs::path> files;
  for (const StudyJob& job : jobs) {
    files.push_back(write_script(out, job.stage, batch_script(job.script, site)));
    describe_script(job.stage, job.script, site);
    fmt::print("  script: {}\n  check:  {}\n", files.back().string(), check_script(files.back(), {}));
  }
  std::string number;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    number = submit_script(files[i], dependency_on(number, jobs[i].condition));
    add_job_record(out, {number, jobs[i].stage});
    fmt::print("job {}: {}\n  log:    {}\n", number, jobs[i].stage, log_of(jobs[i].script, number));
  }
  return ExitCode::done;
}

}  // namespace cohort::jobs
