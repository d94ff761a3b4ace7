// Training as jobs of a real Slurm with two nodes: whatever happens to a job, its run ends with the bits of
// one that nobody disturbed.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/command.h"

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using test::Outcome, test::spawn;

constexpr int kSteps = 250, kPatienceSeconds = 120;

bool wait_for(const std::function<bool()>& condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(kPatienceSeconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

std::string trimmed(std::string text) {
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

std::string content(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// "RUNNING", "COMPLETED" …
std::string state(const std::string& job) {
  return trimmed(spawn(fmt::format("squeue -h -r -t all -j {} -o %T", job)).output);
}

bool has_ended(const std::string& job) {
  const std::string now = state(job);
  return now != "RUNNING" && now != "PENDING" && now != "COMPLETING" && now != "CONFIGURING";
}

class SlurmCluster : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::ifstream record(COHORT_CLUSTER);
    std::string folder;
    std::getline(record, folder);
    ::setenv("SLURM_CONF", (folder + "/etc/slurm.conf").c_str(), 1);
    shared_ = std::make_unique<testing::TemporaryFolder>();
  }
  static void TearDownTestSuite() { shared_.reset(); }

  // All jobs write into one folder; of each test its own part.
  [[nodiscard]] static fs::path run(const std::string& name) { return shared_->path() / name; }

  [[nodiscard]] static Outcome try_to_submit(const fs::path& run, const std::string& more) {
    const fs::path tests = COHORT_TEST_DATA;
    return spawn(fmt::format("{} submit {} data.path={} {} reproducible=true train.max_steps={} "
                             "checkpoint.every_steps=0 "
                             "eval.every_epochs=0 eval.splits=[] model.dropout=0.1 model.drop_path=0.1 {} {}",
                             COHORT_PROGRAM, (tests / ".." / "configs" / "tests" / "nuclei.yaml").string(),
                             (tests / "data" / "nuclei").string(), shell_quoted("run_dir=" + run.string()),
                             kSteps, more.find("--time") == std::string::npos ? "--time 1h" : "", more),
                 60);
  }

  /// The number of the job, of several stages that of the last.
  [[nodiscard]] static std::string submit(const fs::path& run, const std::string& more) {
    const Outcome outcome = try_to_submit(run, more);
    const std::string mark = "\njob ";
    const std::size_t at = outcome.output.rfind(mark);
    if (outcome.exit_code != 0 || at == std::string::npos) throw std::runtime_error(outcome.output);
    return outcome.output.substr(at + mark.size(), outcome.output.find(':', at) - at - mark.size());
  }

  static void expect_end(const std::string& job, const std::string& expected) {
    EXPECT_TRUE(wait_for([&] { return has_ended(job); })) << job << " is " << state(job);
    EXPECT_EQ(state(job), expected) << logs();
  }

  static void wait_for_step(const fs::path& run, int step) {
    EXPECT_TRUE(wait_for([&] {
      return content(run / "metrics.jsonl").find(fmt::format("\"step\":{},", step)) != std::string::npos;
    })) << logs();
  }

  // A job that went back waits for credentials to expire; it may be hurried once that second is over.
  static void hurry(const std::string& job) {
    EXPECT_TRUE(wait_for([&] { return state(job) == "PENDING"; })) << state(job) << logs();
    std::this_thread::sleep_for(std::chrono::seconds(2));
    spawn(fmt::format("scontrol update JobId={} StartTime=now", job));
  }

  // The run that nobody disturbs, made once, under a name that is hard to quote.
  static std::string calm_job() {
    static const std::string job = [] {
      const std::string number = submit(calm_run(), "--nodes 2");
      expect_end(number, "COMPLETED");
      return number;
    }();
    return job;
  }
  static fs::path calm_run() { return run("a $(touch stolen) \"'b%j #c"); }

  /// Nothing missing, nothing twice, every bit in place.
  static void expect_undisturbed(const fs::path& run) {
    std::ifstream lines(run / "metrics.jsonl");
    int steps = 0;
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::json::parse(line);
      if (json.at("kind") != "step") continue;
      ++steps;
      EXPECT_EQ(json.at("step"), steps);
    }
    EXPECT_EQ(steps, kSteps);
    ASSERT_TRUE(fs::exists(run / "weights.safetensors")) << logs();
    calm_job();
    const auto actual = checkpoint::read_safetensors(run / "weights.safetensors");
    for (const auto& [name, values] :
         checkpoint::read_safetensors(calm_run() / "weights.safetensors").tensors) {
      ASSERT_NE(actual.find(name), nullptr) << name;
      EXPECT_TRUE(at::equal(values, *actual.find(name))) << name;
    }
  }

  static std::string logs() {
    std::string text;
    for (const auto& entry : fs::recursive_directory_iterator(shared_->path())) {
      if (entry.path().extension() == ".log")
        text += "\n== " + entry.path().string() + "\n" + content(entry.path());
    }
    return text;
  }
  static int starts(const fs::path& run) {
    const test::Outcome metrics{0, content(run / "metrics.jsonl")};
    return metrics.occurrences("\"kind\":\"start\"");
  }
  static bool stopped_by(const fs::path& run, const std::string& reason) {
    return content(run / "metrics.jsonl").find(fmt::format("\"reason\":\"{}\"", reason)) != std::string::npos;
  }

  static std::unique_ptr<testing::TemporaryFolder> shared_;
};
std::unique_ptr<testing::TemporaryFolder> SlurmCluster::shared_;

TEST_F(SlurmCluster, TrainsOnTwoNodesUnderAnOddName) {
  const fs::path folder = calm_run();
  const std::string job = calm_job();

  const std::string log = content(folder / "slurm" / ("train-" + job + ".log"));
  EXPECT_NE(log.find("ranks: 2, threads of each: 1, bound to cores"), std::string::npos) << logs();
  EXPECT_NE(log.find("on n[1-2]"), std::string::npos) << logs();
  EXPECT_NE(content(folder / "metrics.jsonl").find(fmt::format("\"job\":\"{}\"", job)), std::string::npos);
  const Outcome status = spawn(fmt::format("{} status {}", COHORT_PROGRAM, shared_->path().string()));
  EXPECT_TRUE(status.says(job) && status.says("COMPLETED") && status.says("250 / 250")) << status.output;
}

TEST_F(SlurmCluster, MpirunStartsRanksAsWell) {
  const fs::path folder = run("mpirun"), site = run("mpirun.yaml");
  std::ofstream(site) << "launcher: mpirun\n";

  const std::string job = submit(folder, "--nodes 2 --site " + site.string());

  wait_for_step(folder, 2);
  spawn("scancel --batch -s USR1 " + job);
  hurry(job);
  expect_end(job, "COMPLETED");
  EXPECT_EQ(starts(folder), 2) << logs();
  expect_undisturbed(folder);
}

TEST_F(SlurmCluster, APreemptedJobGoesOn) {
  const fs::path folder = run("preempted");
  const std::string job = submit(folder, "--nodes 2");
  wait_for_step(folder, 2);

  const Outcome high = spawn("sbatch --parsable -p high -N2 --exclusive -o /dev/null --wrap true");

  hurry(job);
  expect_end(trimmed(high.output), "COMPLETED");
  expect_end(job, "COMPLETED");
  EXPECT_EQ(starts(folder), 2) << logs();
  EXPECT_TRUE(stopped_by(folder, "signal")) << logs();
  expect_undisturbed(folder);
}

TEST_F(SlurmCluster, AJobWhoseTimeEndsGoesOn) {
  const fs::path folder = run("time");

  // Two minutes, of which the last 118 s are the margin.
  const std::string job = submit(folder, "--nodes 2 --time 2 train.stop.margin=118s train.max_steps=100000");

  EXPECT_TRUE(wait_for([&] { return stopped_by(folder, "time limit"); })) << logs();
  EXPECT_TRUE(wait_for([&] { return state(job) == "PENDING"; })) << state(job) << logs();
  spawn("scancel " + job);
  expect_end(job, "CANCELLED");
}

TEST_F(SlurmCluster, AJobThatLosesANodeGoesOn) {
  const fs::path folder = run("node");
  const std::string job = submit(folder, "--nodes 2");
  wait_for_step(folder, 2);

  spawn("scontrol update NodeName=n2 State=DOWN Reason=test");

  // Not to be hurried: Slurm is still ending what is left of the first start.
  EXPECT_TRUE(wait_for([&] { return state(job) == "PENDING"; })) << state(job) << logs();
  expect_end(job, "COMPLETED");
  EXPECT_EQ(starts(folder), 2) << logs();
  expect_undisturbed(folder);
}

TEST_F(SlurmCluster, AStudyIsArraysOfRunsAndATable) {
  const fs::path tests = COHORT_TEST_DATA, out = run("study");
  const Outcome outcome = spawn(
      fmt::format(
          "{} downstream {} --from random --modes finetuned --runs 2 --lr-search 1e-3,1e-4 --out {} --submit "
          "--time 10min --set data.path={} --set train.max_steps=4 --set eval.splits=[test] --set "
          "checkpoint.best_by=test/loss",
          COHORT_PROGRAM, (tests / ".." / "configs" / "tests" / "nuclei.yaml").string(), out.string(),
          (tests / "data" / "nuclei").string()),
      60);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  for (const char* stage : {": prepare", ": search", ": runs", ": table"}) EXPECT_TRUE(outcome.says(stage));
  EXPECT_TRUE(wait_for([&] { return fs::exists(out / "table.md"); })) << logs();
  EXPECT_EQ(content(out / "table.md").find("Not all runs"), std::string::npos) << content(out / "table.md");
}

// The variable is srun's. Both steps have it, since without it ranks of two nodes crash in MPI_Init now and
// then; the processes of the first do not see it.
TEST_F(SlurmCluster, TheDoctorWantsBarriersThatHoldRanksBack) {
  const std::string step = "env SLURM_PMIX_FENCE=ring srun --mpi=pmix -N 2 -n 2 ";
  const std::string doctor = fmt::format("{} doctor", COHORT_PROGRAM),
                    advice = "export SLURM_PMIX_FENCE=ring";

  const Outcome unseen = spawn(step + "env -u SLURM_PMIX_FENCE " + doctor);
  EXPECT_TRUE(unseen.says(advice)) << unseen.output;
  const Outcome seen = spawn(step + doctor);
  EXPECT_TRUE(seen.says("2 ranks on 2 hosts, started by srun")) << seen.output;
  EXPECT_FALSE(seen.says(advice)) << seen.output;
}

TEST_F(SlurmCluster, ACancelledJobStaysEndedAndHasSaved) {
  const fs::path folder = run("cancelled");
  const std::string job = submit(folder, "--nodes 2 train.max_steps=100000");
  wait_for_step(folder, 2);

  spawn("scancel " + job);

  expect_end(job, "CANCELLED");
  EXPECT_TRUE(stopped_by(folder, "signal")) << logs();
  std::this_thread::sleep_for(std::chrono::seconds(2));
  EXPECT_EQ(state(job), "CANCELLED");
}

TEST_F(SlurmCluster, TheFileStopEndsAJobAndWhatWaitsForItAndTheNextOneGoesOn) {
  const fs::path folder = run("stopped");
  const std::string job = submit(folder, "--nodes 1"),
                    report = submit(folder, "--stage report --after " + job);
  wait_for_step(folder, 5);

  std::ofstream(folder / "STOP") << "";

  expect_end(job, "FAILED");
  EXPECT_TRUE(spawn("scontrol show job " + job).says("ExitCode=75:0")) << logs();
  EXPECT_FALSE(fs::exists(folder / "STOP"));
  expect_end(report, "CANCELLED");
  expect_end(submit(folder, "--nodes 1"), "COMPLETED");
  EXPECT_EQ(starts(folder), 2) << logs();
  expect_undisturbed(folder);
}

TEST_F(SlurmCluster, AnElementOfAnArrayGoesOnByItself) {
  const fs::path folder = run("sweep"), first = folder / "seed=1", second = folder / "seed=2";
  const std::string report = submit(folder, "--array seed=1,2 --stage train,report"),
                    element = nlohmann::json::parse(content(first / "slurm" / "jobs.jsonl")).at("job");
  wait_for_step(first, 5);

  spawn("scancel --batch -s USR1 " + element);

  hurry(element);
  expect_end(report, "COMPLETED");
  EXPECT_EQ(starts(first), 2) << logs();
  EXPECT_EQ(starts(second), 1) << logs();
  expect_undisturbed(first);
  EXPECT_TRUE(fs::exists(folder / "report.html"));
}

TEST_F(SlurmCluster, SlurmRefusesInItsOwnWords) {
  const fs::path site = run("site.yaml");
  std::ofstream(site) << "partition: moon\n";

  const Outcome nodes = try_to_submit(run("refused"), "--nodes 3"),
                partition = try_to_submit(run("refused"), "--site " + site.string());

  EXPECT_EQ(nodes.exit_code, 2) << nodes.output;
  EXPECT_TRUE(nodes.says("Slurm refuses the job: allocation failure")) << nodes.output;
  EXPECT_EQ(partition.exit_code, 2) << partition.output;
  EXPECT_TRUE(partition.says("invalid partition specified: moon")) << partition.output;
}

TEST_F(SlurmCluster, AcceptsGpusOnThePartitionThatHasThem) {
  const fs::path site = run("gpus.yaml");
  std::ofstream(site) << "partition: moon\ngpu_partition: high\n";
  const std::string script = run("gpus.sbatch").string();
  const std::string gpus =
      fmt::format("--site {} device=cuda --dry-run --nodes 2 --gpus-per-node", site.string());
  for (const auto& [count, code] : {std::pair{2, 0}, {3, 1}}) {
    std::ofstream(script) << try_to_submit(run("gpus"), fmt::format("{} {}", gpus, count)).output;
    EXPECT_EQ(spawn("sbatch --test-only " + script).exit_code, code) << content(script);
  }
}

}  // namespace
}  // namespace cohort
