// Signals and clocks that meet a save: nothing is lost, and all ranks save after the same step.
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <string>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/checkpoint/store.h"
#include "cohort/train/trainer.h"

#include "same_weights.h"
#include "support/ranks.h"
#include "support/receive_signal.h"
#include "tiny_run.h"
#include "train/stop_signal.h"

namespace {

// What a sync of a file does before it begins, by any thread of this program.
std::function<void(const std::string& path)> before_sync;

}  // namespace

// Takes the place of the C library's.
extern "C" int fsync(int descriptor) {
  if (before_sync) {
    std::error_code error;
    const auto link = std::filesystem::path("/proc/self/fd") / std::to_string(descriptor);
    before_sync(std::filesystem::read_symlink(link, error).string());
  }
  return static_cast<int>(::syscall(SYS_fsync, descriptor));
}

namespace cohort::train {
namespace {

namespace fs = std::filesystem;

/// While it lives, SIGTERM reaches this process in the middle of its first save: all values are written, and
/// nothing is published yet. Behind training, that save then lasts until the next one is asked for.
class SignalDuringSave {
 public:
  explicit SignalDuringSave(bool behind_training) : behind_training_(behind_training) {
    before_sync = [this](const std::string& path) { meet(path); };
  }
  SignalDuringSave(const SignalDuringSave&) = delete;
  SignalDuringSave& operator=(const SignalDuringSave&) = delete;
  ~SignalDuringSave() { before_sync = nullptr; }

  [[nodiscard]] bool came() const { return came_; }

 private:
  // Every save is asked for right after a sync of the metrics.
  void meet(const std::string& path) {
    std::unique_lock lock(mutex_);
    if (path.ends_with("/metrics.jsonl")) {
      ++saves_;
      next_save_.notify_all();
    } else if (path.ends_with("/state.h5") && !came_) {
      came_ = true;
      testing::receive_signal(SIGTERM);
      if (behind_training_) next_save_.wait(lock, [this] { return saves_ > 1; });
    }
  }

  std::mutex mutex_;
  std::condition_variable next_save_;
  bool behind_training_, came_ = false;
  int saves_ = 0;
};

class Stop : public ::testing::Test {
 protected:
  Stop() { testing::write_tiny_dataset(folder.path() / "tiny", world); }

  RunConfig run(const std::string& name) {
    RunConfig config = tiny_run(folder.path(), name);
    config.eval.every_epochs = 0;
    config.checkpoint = {.every_steps = 3, .keep_last = 99};
    return config;
  }
  ExitCode train(const RunConfig& config) {
    const ExitCode code = Trainer(config, world).run();
    world.barrier();
    return code;
  }
  [[nodiscard]] checkpoint::Store store(const RunConfig& config) {
    return {config.run_dir / "checkpoints", world};
  }
  void expect_same_weights(const RunConfig& a, const RunConfig& b) {
    train::expect_same_weights(a.run_dir / "weights.safetensors", b.run_dir / "weights.safetensors");
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

TEST_F(Stop, ASignalDuringASaveLeavesThatCheckpointAndALastOne) {
  const RunConfig calm = run("calm");
  ASSERT_EQ(train(calm), ExitCode::done);
  for (const bool async : {false, true}) {
    SCOPED_TRACE(async ? "async" : "sync");
    RunConfig config = run(async ? "async" : "sync");
    config.checkpoint.async = async;
    {
      std::optional<SignalDuringSave> signal;
      if (world.rank() == 0) signal.emplace(async);
      ASSERT_EQ(train(config), ExitCode::stopped);
      EXPECT_TRUE(!signal || signal->came());
    }

    checkpoint::Store checkpoints = store(config);
    const std::int64_t last = checkpoints.latest().value_or(0);
    // The save after step 6 waits for that after step 3, in which the signal came.
    EXPECT_GE(last, 4);
    EXPECT_LE(last, 7);
    for (const std::int64_t step : {std::int64_t{3}, last})
      EXPECT_TRUE(checkpoints.damage(step).empty()) << step;
    EXPECT_TRUE(checkpoints.unfinished().empty());
    EXPECT_EQ(std::ssize(lines_of(config.run_dir, "step")), last);
    world.barrier();
    ASSERT_EQ(train(config), ExitCode::done);
    EXPECT_EQ(steps_of(config.run_dir, "step"), steps_of(calm.run_dir, "step"));
    expect_same_weights(calm, config);
  }
}

// The signal comes in the save before the evaluation of step 2.
TEST_F(Stop, AnEvaluationIsGivenUpAndMadeWhenTheRunGoesOn) {
  RunConfig calm = run("calm"), config = run("evaluation");
  for (RunConfig* each : {&calm, &config}) {
    each->eval.every_epochs = 1;
    each->checkpoint = {.async = false, .every_steps = 2, .keep_last = 99};
  }
  ASSERT_EQ(train(calm), ExitCode::done);
  {
    std::optional<SignalDuringSave> signal;
    if (world.rank() == 0) signal.emplace(false);
    ASSERT_EQ(train(config), ExitCode::stopped);
  }
  EXPECT_EQ(steps_of(config.run_dir, "step"), "1 2 ");
  EXPECT_EQ(steps_of(config.run_dir, "evaluation"), "");
  EXPECT_EQ(steps_of(config.run_dir, "stop"), "2 ");
  EXPECT_EQ(store(config).latest(), 2);
  world.barrier();

  ASSERT_EQ(train(config), ExitCode::done);

  EXPECT_EQ(steps_of(config.run_dir, "evaluation"), steps_of(calm.run_dir, "evaluation"));
  expect_same_weights(calm, config);
}

TEST_F(Stop, OnceTheExitCodeIsDecidedSignalsDoNothing) {
  RunConfig config = run("end");
  config.train.max_steps = 1;
  config.train.stop.signals = {"TERM", "USR2", "INT"};
  {
    Trainer trainer(config, world);
    ASSERT_EQ(trainer.run(), ExitCode::done);
    ignore_stop_signals(config.train.stop);
  }
  testing::receive_signal(SIGTERM);
  testing::receive_signal(SIGUSR2);
  EXPECT_EQ(::signal(SIGINT, SIG_DFL), SIG_DFL) << "Ctrl-C ends a program whose last moments hang";
  ::signal(SIGTERM, SIG_DFL);
  ::signal(SIGUSR2, SIG_DFL);
  world.barrier();
}

/// How a process ends that gets these signals while a run listens to SIGINT: the signal that killed it, or 0.
int ended_by(std::initializer_list<int> signals, bool ignores_interrupts = false) {
  const pid_t process = ::fork();
  if (process == 0) {
    ::signal(SIGINT, ignores_interrupts ? SIG_IGN : SIG_DFL);
    const std::vector<std::string> names{"TERM", "INT", "INT"};  // nobody refuses a name twice
    StopSignal stop(names, false);
    for (const int signal : signals) testing::receive_signal(signal);
    const bool is_right = stop.received() != ignores_interrupts && !stop.take_continued();
    ::_exit(is_right ? 0 : 1);
  }
  int status = 0;
  ::waitpid(process, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST_F(Stop, ASecondCtrlCEndsTheProcessAtOnce) {
  if (world.rank() != 0) return;
  EXPECT_EQ(ended_by({SIGINT}), 0);
  EXPECT_EQ(ended_by({SIGTERM, SIGINT, SIGTERM}), 0);
  EXPECT_EQ(ended_by({SIGINT, SIGINT}), SIGINT);
  EXPECT_EQ(ended_by({SIGINT, SIGINT, SIGINT}, true), 0);  // in the background of a script
}

// As Open MPI and Slurm send it before they end a job.
TEST_F(Stop, WhenItIsContinuedARunSavesOnce) {
  RunConfig config = run("continued");
  config.checkpoint = {.every_steps = 0, .keep_last = 99};
  Trainer trainer(config, world);
  testing::receive_signal(SIGCONT);

  ASSERT_EQ(trainer.run(), ExitCode::done);

  EXPECT_EQ(store(config).steps(), (std::vector<std::int64_t>{config.train.max_steps, 1}));
}

/// While it lives, this process belongs to a Slurm job that ends at this time, in seconds since 1970.
class InSlurmJob {
 public:
  explicit InSlurmJob(std::chrono::system_clock::time_point end) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(end).time_since_epoch().count();
    ::setenv("SLURM_JOB_ID", "77", 1);
    ::setenv("SLURM_JOB_END_TIME", std::to_string(seconds).c_str(), 1);
  }
  InSlurmJob(const InSlurmJob&) = delete;
  InSlurmJob& operator=(const InSlurmJob&) = delete;
  ~InSlurmJob() {
    ::unsetenv("SLURM_JOB_ID");
    ::unsetenv("SLURM_JOB_END_TIME");
  }
};

TEST_F(Stop, WhenTheJobsTimeEndsTheRunSavesStopsAndGoesOn) {
  const RunConfig calm = run("calm"), config = run("time");
  ASSERT_EQ(train(calm), ExitCode::done);
  {
    const InSlurmJob job(std::chrono::system_clock::now() + config.train.stop.margin);
    ASSERT_EQ(train(config), ExitCode::stopped);
    EXPECT_EQ(steps_of(config.run_dir, "step"), "1 ");
    ASSERT_EQ(lines_of(config.run_dir, "stop").size(), 1U);
    EXPECT_EQ(lines_of(config.run_dir, "stop")[0].at("reason"), "time limit");
    EXPECT_EQ(lines_of(config.run_dir, "start")[0].at("job"), "77");
    world.barrier();
  }
  const InSlurmJob job(std::chrono::system_clock::now() + std::chrono::hours(9));

  ASSERT_EQ(train(config), ExitCode::done);
  EXPECT_EQ(steps_of(config.run_dir, "step"), steps_of(calm.run_dir, "step"));
  expect_same_weights(calm, config);
}

TEST_F(Stop, WithoutAMarginTheJobsTimeDoesNotMatter) {
  RunConfig config = run("no_margin");
  config.train.stop.margin = std::chrono::seconds(0);
  const InSlurmJob job(std::chrono::system_clock::now());

  EXPECT_EQ(train(config), ExitCode::done);
}

TEST_F(Stop, TheFileStopStopsOnce) {
  const RunConfig config = run("file");
  if (world.rank() == 0) {
    fs::create_directories(config.run_dir);
    std::ofstream(config.run_dir / "STOP") << "";
  }
  world.barrier();

  ASSERT_EQ(train(config), ExitCode::stopped);

  EXPECT_EQ(steps_of(config.run_dir, "step"), "1 ");
  EXPECT_EQ(lines_of(config.run_dir, "stop").at(0).at("reason"), "file");
  EXPECT_FALSE(fs::exists(config.run_dir / "STOP"));
  world.barrier();
  EXPECT_EQ(train(config), ExitCode::done);
}

TEST_F(Stop, TheFileSaveSavesOnceAndTrainingGoesOn) {
  RunConfig config = run("save");
  config.checkpoint = {.every_steps = 0, .keep_last = 99};
  if (world.rank() == 0) {
    fs::create_directories(config.run_dir);
    std::ofstream(config.run_dir / "SAVE") << "";
  }
  world.barrier();

  ASSERT_EQ(train(config), ExitCode::done);

  EXPECT_EQ(store(config).steps(), (std::vector<std::int64_t>{config.train.max_steps, 1}));
  EXPECT_FALSE(fs::exists(config.run_dir / "SAVE"));
}

TEST_F(Stop, OnlyTheSignalsOfTheConfigurationStop) {
  RunConfig config = run("signals");
  config.train.stop.signals = {"USR1"};
  struct sigaction ignored {
  }, before{};
  ignored.sa_handler = SIG_IGN;
  ::sigaction(SIGUSR2, &ignored, &before);
  {
    Trainer trainer(config, world);
    testing::receive_signal(SIGUSR2);
    EXPECT_EQ(trainer.run(), ExitCode::done);
  }
  ::sigaction(SIGUSR2, &before, nullptr);
  world.barrier();
  config.run_dir += "_of_config";
  Trainer trainer(config, world);
  testing::receive_signal(SIGUSR1);
  EXPECT_EQ(trainer.run(), ExitCode::stopped);
  world.barrier();
}

// The clock of rank 0 decides; others, which wait for it in their first step, save with it.
TEST_F(Stop, ByTheClockAllRanksSaveAfterTheSameStep) {
  RunConfig config = run("clock");
  config.checkpoint = {.every = std::chrono::seconds(1), .keep_last = 99};
  Trainer trainer(config, world);
  const auto due = std::chrono::steady_clock::now() + config.checkpoint.every;
  while (world.rank() == 0 && std::chrono::steady_clock::now() < due) std::this_thread::yield();

  ASSERT_EQ(trainer.run(), ExitCode::done);

  world.barrier();
  checkpoint::Store checkpoints = store(config);
  const auto steps = checkpoints.steps();
  ASSERT_GE(steps.size(), 2U);
  EXPECT_EQ(steps.back(), 1);
  EXPECT_EQ(steps.front(), config.train.max_steps);
  EXPECT_TRUE(checkpoints.damage(1).empty());
  RunConfig again = run("again");
  again.resume = (config.run_dir / "checkpoints" / "step-00000001").string();
  ASSERT_EQ(train(again), ExitCode::done);
  expect_same_weights(config, again);
}

}  // namespace
}  // namespace cohort::train
