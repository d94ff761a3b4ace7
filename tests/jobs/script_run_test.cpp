// Batch scripts as bash runs them: what reaches the program, and what becomes of the job at its end.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fake_slurm.h"
#include "jobs/slurm_script.h"

namespace cohort::jobs {
namespace {

/// Whatever can be in a name, except for line breaks.
const std::string kName = R"(a 'b' "c" $(touch stolen) `touch stolen` $HOME \ * ; & | > < # ! ~ ü)";

JobScript job_with_odd_names() {
  JobScript job;
  job.name = job.folder = kName;
  job.log = "log";
  job.command = {"program", kName, "run_dir=" + kName};
  job.runs = {{kName, {kName}}};
  job.stop_signal = "USR2";
  return job;
}

std::string in_job(const std::string& variables = "") {
  return "export SLURM_JOB_ID=7 SLURM_CPUS_PER_TASK=3 SLURM_NTASKS=2 SLURM_JOB_NODELIST=n1 " + variables +
         "\n";
}

TEST(BatchScript, EveryNameReachesTheProgramAsItIs) {
  const FakeSlurm slurm;
  slurm.play("srun", "echo threads $OMP_NUM_THREADS $SRUN_CPUS_PER_TASK and \"$A\" by $SLURM_JOB_END_TIME");
  slurm.play("squeue", "echo 1234");
  SiteConfig site;
  site.environment = {"A=" + kName};
  site.container = {"in", kName};
  site.sbatch = {"--comment=" + kName};

  const test::Outcome outcome = slurm.run(in_job() + "cd " + slurm.folder().path().string() + "\n" +
                                          batch_script(job_with_odd_names(), site));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(outcome.says("threads 3 3 and " + kName + " by 1234")) << outcome.output;
  EXPECT_EQ(slurm.called("srun"), "--mpi=pmix\n--cpu-bind=cores\n--wait=15\nin\n" + kName + "\nprogram\n" +
                                      kName + "\nrun_dir=" + kName + "\n" + kName + "\n");
  EXPECT_FALSE(std::filesystem::exists(slurm.folder().path() / "stolen"));
}

TEST(BatchScript, AnElementOfAnArrayGetsItsOwnArguments) {
  const FakeSlurm slurm;
  slurm.play("srun", "exit 75");
  slurm.play("squeue", "");
  slurm.play("scontrol", "echo JobState=RUNNING PreemptTime=None");
  JobScript job = job_with_odd_names();
  job.array = true;
  job.command = {"program"};
  job.runs = {{"a", {"lr=1"}}, {"b", {"lr=2"}}};

  const test::Outcome outcome =
      slurm.run(in_job("SLURM_ARRAY_JOB_ID=5 SLURM_ARRAY_TASK_ID=1") + batch_script(job, SiteConfig()));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(slurm.called("srun"), "--mpi=pmix\n--cpu-bind=cores\n--wait=15\nprogram\nlr=2\n");
  // By the number of the array all its elements would go back.
  EXPECT_EQ(slurm.called("scontrol"), "show\njob\n5_1\nrequeue\n5_1\n");
}

struct Ending {
  std::string name;
  std::string program;  ///< what srun does; the batch script is its parent
  std::string details;  ///< what scontrol says of the job
  std::string metrics;  ///< last line of them
  bool requeued;
  int exit_code;
};

class EndOfJob : public ::testing::TestWithParam<Ending> {};

TEST_P(EndOfJob, DecidesWhetherTheRunGoesOn) {
  const Ending& ending = GetParam();
  const FakeSlurm slurm;
  slurm.play("squeue", "");
  slurm.play("srun", ending.program);
  slurm.play("scontrol", "echo '" + ending.details + "'");
  JobScript job = job_with_odd_names();
  job.runs[0].folder = slurm.folder().path() / "run";
  slurm.folder().write("run/metrics.jsonl", "{\"kind\":\"step\",\"step\":3}\n" + ending.metrics + "\n");

  const test::Outcome outcome = slurm.run(in_job() + batch_script(job, SiteConfig()));

  EXPECT_EQ(outcome.exit_code, ending.exit_code) << outcome.output;
  EXPECT_EQ(slurm.called("scontrol").find("requeue\n7\n") != std::string::npos, ending.requeued)
      << outcome.output;
}

// A program that notes the signals it gets, ends with `code` at USR2, and meanwhile has the batch script get
// `signal`.
std::string signalled(const std::string& signal, int code) {
  return fmt::format("trap 'exit {}' USR2; kill -s {} $PPID; while :; do sleep 0.05; done", code, signal);
}

const std::string kRunning = "JobState=RUNNING PreemptTime=None",
                  kStopped = R"({"kind":"stop","step":3,"reason":"signal"})";

INSTANTIATE_TEST_SUITE_P(
    , EndOfJob,
    ::testing::Values(
        Ending{"done", "exit 0", kRunning, R"({"kind":"end"})", false, 0},
        Ending{"preempted_by_signal", signalled("USR1", 75), kRunning, kStopped, true, 0},
        Ending{"signal_before_the_program_was_ready", signalled("USR1", 140), kRunning, "", true, 0},
        Ending{"time_limit", "exit 75", kRunning, R"({"kind":"stop","step":3,"reason":"time limit"})", true,
               0},
        Ending{"stopped_by_hand", "exit 75", kRunning, R"({"kind":"stop","step":3,"reason":"file"})", false,
               75},
        Ending{"cancelled", signalled("TERM", 75), "JobState=CANCELLED PreemptTime=None", kStopped, false,
               75},
        Ending{"cancelled_before_the_script_knew", "exit 75", "JobState=CANCELLED PreemptTime=None", kStopped,
               false, 75},
        Ending{"terminated_without_a_reason", signalled("TERM", 75), kRunning, kStopped, false, 75},
        Ending{"preempted_by_terminate", signalled("TERM", 75),
               "JobState=RUNNING PreemptTime=2026-01-01T00:00:00", kStopped, true, 0},
        Ending{"a_rank_failed", "exit 5", kRunning, "", false, 5},
        Ending{"killed", "exit 137", kRunning, "", false, 137},
        Ending{"killed_by_another_signal", "kill -KILL $$", kRunning, "", false, 137}),
    [](const auto& test) { return test.param.name; });

TEST(BatchScript, WhereTheJobCannotGoBackItSaysSoByItsExitCode) {
  const FakeSlurm slurm;
  slurm.play("squeue", "");
  slurm.play("srun", "exit 75");
  slurm.play("scontrol", "[ $1 = show ] && echo JobState=RUNNING || exit 1");

  const test::Outcome outcome = slurm.run(in_job() + batch_script(job_with_odd_names(), SiteConfig()));

  EXPECT_EQ(outcome.exit_code, 75) << outcome.output;
  EXPECT_TRUE(outcome.says("exit code 75")) << outcome.output;
}

}  // namespace
}  // namespace cohort::jobs
