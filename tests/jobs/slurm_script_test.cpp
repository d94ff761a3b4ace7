// The text of batch scripts. slurm/examples/ shows what they look like, and is held in step here.
#include "jobs/slurm_script.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;
using std::chrono::hours, std::chrono::minutes, std::chrono::seconds;

JobScript training(std::int64_t nodes, std::int64_t ranks, std::int64_t cpus, std::int64_t gpus) {
  JobScript job;
  job.name = "train-contextvit";
  job.folder = "/home/user/study";
  job.log = "/home/user/study/runs/contextvit/slurm/train-%j.log";
  job.command = {"/opt/cohort/bin/cohort", "train", "runs/contextvit/slurm/train.yaml"};
  job.runs = {{"runs/contextvit", {}}};
  job.resources = {.nodes = nodes,
                   .ranks_per_node = ranks,
                   .cpus_per_rank = cpus,
                   .gpus_per_node = gpus,
                   .time = hours(24)};
  job.stop_signal = "USR2";
  job.stop_margin = minutes(5);
  return job;
}

JobScript stage(const std::string& name, std::vector<std::string> command) {
  JobScript job = training(1, 4, 4, 0);
  job.name = name + "-contextvit";
  job.log = "/home/user/study/runs/contextvit/slurm/" + name + "-%j.log";
  job.command = std::move(command);
  job.resources.time = hours(2);
  job.stop_signal.clear();
  return job;
}

JobScript sweep_of_training() {
  JobScript job = training(1, 1, 8, 0);
  job.array = true;
  job.log = "/home/user/study/runs/contextvit/slurm/train-%A_%a.log";
  job.runs.clear();
  for (const std::string lr : {"1e-3", "3e-4"}) {
    const std::string folder = "runs/contextvit/optimizer.lr=" + lr;
    job.runs.push_back({folder, {"optimizer.lr=" + lr, "run_dir=" + folder}});
  }
  return job;
}

JobScript report() {
  JobScript job = stage("report", {"/opt/cohort/bin/cohort", "report", "--out", "runs/contextvit/report.html",
                                   "--overwrite", "runs/contextvit"});
  job.resources.ranks_per_node = 1;
  job.launched = false;
  return job;
}

SiteConfig gpu_site() {
  SiteConfig site;
  site.partition = "batch";
  site.gpu_partition = "gpu";
  site.account = "project42";
  site.modules = {"gcc/12", "openmpi/4.1"};
  site.environment = {"NCCL_DEBUG=WARN"};
  site.sbatch = {"--mail-type=END"};
  return site;
}

SiteConfig mpirun_site() {
  SiteConfig site = gpu_site();
  site.launcher = Launcher::mpirun;
  site.container = {"apptainer", "exec", "--nv", "/images/cohort.sif"};
  return site;
}

std::string content(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// A script that differs is written to the current folder: look at it, and copy it to slurm/examples if it is
// right.
void expect_example(const std::string& name, const JobScript& job, const SiteConfig& site) {
  const std::string text = batch_script(job, site);
  if (text == content(fs::path(COHORT_TEST_DATA) / ".." / "slurm" / "examples" / name)) return;
  std::ofstream(name) << text;
  ADD_FAILURE() << "slurm/examples/" << name
                << " is not what cohort submit writes: " << fs::absolute(name).string();
}

TEST(SlurmScript, ExamplesAreWhatIsWritten) {
  const std::string data = "/opt/cohort/bin/cohort-data";
  expect_example("convert.sbatch",
                 stage("convert", {data, "convert", "images", "photos", "--out", "data/mine"}), gpu_site());
  expect_example("verify.sbatch", stage("verify", {data, "verify", "data/mine"}), gpu_site());
  expect_example("train-1-node-cpu.sbatch", training(1, 4, 16, 0), SiteConfig());
  expect_example("train-4-nodes-gpu.sbatch", training(4, 8, 12, 8), gpu_site());
  expect_example("train-2-nodes-mpirun-container.sbatch", training(2, 4, 8, 4), mpirun_site());
  expect_example("train-sweep.sbatch", sweep_of_training(), gpu_site());
  expect_example("probe.sbatch",
                 stage("probe", {"/opt/cohort/bin/cohort", "probe", "--run", "runs/contextvit"}), gpu_site());
  expect_example("report.sbatch", report(), gpu_site());
}

TEST(SlurmScript, RefusesLineBreaksWhereverTheyAre) {
  const auto refused = [](auto change) {
    JobScript job = training(1, 1, 1, 0);
    SiteConfig site;
    change(job, site);
    EXPECT_THROW(batch_script(job, site), UsageError);
  };
  refused([](JobScript& job, SiteConfig&) { job.command.emplace_back("a\nb"); });
  refused([](JobScript& job, SiteConfig&) { job.runs[0].folder = "a\nb"; });
  refused([](JobScript& job, SiteConfig&) { job.runs[0].arguments = {"run_dir=a\nb"}; });
  refused([](JobScript& job, SiteConfig&) { job.name = "a\n#SBATCH --uid=0"; });
  refused([](JobScript& job, SiteConfig&) { job.log = "a\nb"; });
  refused([](JobScript& job, SiteConfig&) { job.folder = "a\nb"; });
  refused([](JobScript&, SiteConfig& site) { site.sbatch = {"--comment=a\nrm -r x"}; });
  refused([](JobScript&, SiteConfig& site) { site.environment = {"A=1\nrm -r x"}; });
  refused([](JobScript&, SiteConfig& site) { site.partition = "a\nb"; });
}

TEST(SlurmScript, PathsOfLogsKeepPercentSigns) {
  EXPECT_EQ(sbatch_path("/runs/100%"), "/runs/100%%");
  EXPECT_THROW(sbatch_path("/runs/a\\b"), UsageError);
}

TEST(SlurmScript, ReadsTimesOfOursAndOfSlurm) {
  EXPECT_EQ(parse_slurm_time("12h"), hours(12));
  EXPECT_EQ(parse_slurm_time("90min"), minutes(90));
  EXPECT_EQ(parse_slurm_time("90"), minutes(90));
  EXPECT_EQ(parse_slurm_time("10:30"), seconds(630));
  EXPECT_EQ(parse_slurm_time("1:00:01"), seconds(3601));
  EXPECT_EQ(parse_slurm_time("2-3"), hours(51));
  EXPECT_EQ(parse_slurm_time("2-03:30"), minutes(51 * 60 + 30));
  EXPECT_EQ(parse_slurm_time("2-03:30:10"), seconds((51 * 60 + 30) * 60 + 10));
  EXPECT_EQ(slurm_time(seconds((51 * 60 + 30) * 60 + 10)), "2-03:30:10");
  for (const char* bad : {"", "soon", "0", "-5", "1:2:3:4", "12x", "1-", ":30", "99999999999999999999"})
    EXPECT_THROW(parse_slurm_time(bad), UsageError) << bad;
}

}  // namespace
}  // namespace cohort::jobs
