// A run that loses a rank again and again, at random instants, and goes on each time with another number of
// ranks and another strategy, ends with the bits of the run that nobody disturbed.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/random.h"

#include "support/job.h"
#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;

constexpr int kKills = 20, kSteps = 150;

std::string train(const fs::path& run, int ranks, const std::string& strategy, int steps = kSteps) {
  const fs::path tests = COHORT_TEST_DATA;
  return fmt::format(
      "{} -n {} {} train {} data.path={} run_dir={} reproducible=true sharding.strategy={} "
      "train.max_steps={} "
      "checkpoint.every_steps=2 eval.every_epochs=0 model.dropout=0.1 model.drop_path=0.1",
      COHORT_MPIEXEC, ranks, COHORT_PROGRAM, (tests / ".." / "configs" / "tests" / "nuclei.yaml").string(),
      (tests / "data" / "nuclei").string(), run.string(), strategy, steps);
}

// Starts the command and kills one of its ranks, number `victim`, `pause` seconds after the run has reached
// `step`; whatever it is doing then, a save as likely as not. Exit code 99: it ended before.
test::Outcome killed_at(const testing::TemporaryFolder& folder, const fs::path& run,
                        const std::string& command, std::int64_t step, double pause, int victim) {
  const fs::path script = folder.write(
      "kill.sh", fmt::format("{0} &\njob=$!\n"
                             "until grep -q '\"step\":{1},' {2}/metrics.jsonl 2>/dev/null; do kill -0 $job "
                             "|| exit 99; sleep 0.02; done\n"
                             "sleep {3}\n"
                             "kill -KILL $(pgrep -f '^{4} train.*run_dir={2} ' | sed -n {5}p)\nwait $job\n",
                             command, step, run.string(), pause, COHORT_PROGRAM, victim + 1));
  return test::spawn("bash " + script.string(), 300);
}

// Starts the command and asks it to stop once the run has reached `step`. Exit code 99: it ended before.
test::Outcome stopped_at(const testing::TemporaryFolder& folder, const fs::path& run,
                         const std::string& command, std::int64_t step) {
  const fs::path script =
      folder.write("stop.sh", fmt::format("{0} &\njob=$!\n"
                                          "until grep -q '\"step\":{1},' {2}/metrics.jsonl 2>/dev/null; do "
                                          "kill -0 $job || exit 99; sleep 0.02; done\n"
                                          "kill -USR2 $job\nwait $job\n",
                                          command, step, run.string()));
  return test::spawn("bash " + script.string(), 300);
}

struct Steps {
  std::vector<std::int64_t> numbers;
  std::vector<double> losses;
};

Steps steps_of(const fs::path& run) {
  Steps steps;
  std::ifstream lines(run / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || entry.at("kind") != "step") continue;
    steps.numbers.push_back(entry.at("step"));
    steps.losses.push_back(entry.at("loss"));
  }
  return steps;
}

TEST(Kill, ARunThatLostRanksTwentyTimesHasTheBitsOfTheUndisturbedOne) {
  const testing::TemporaryFolder folder;
  const fs::path calm = folder.path() / "calm", disturbed = folder.path() / "disturbed";
  const test::Outcome whole = test::spawn(train(calm, 1, "replicate"), 300);
  ASSERT_EQ(whole.exit_code, 0) << whole.output;
  const std::vector<std::string> strategies{"replicate", "optimizer", "full"};
  RandomStream random({.seed = 7, .purpose = Purpose::synthetic});

  for (int kill = 0; kill < kKills; ++kill) {
    const int ranks = 1 + static_cast<int>(random.below(4)),
              victim = static_cast<int>(random.below(static_cast<std::uint64_t>(ranks)));
    const std::string strategy = strategies[random.below(strategies.size())];
    const Steps before = steps_of(disturbed);
    const std::int64_t reached = before.numbers.empty() ? 0 : before.numbers.back();
    // Two or three steps of progress each time, so that there is always something left to kill.
    const std::int64_t step = std::min<std::int64_t>(kSteps - 1, reached - reached % 2 + 3);
    const test::Outcome outcome = killed_at(folder, disturbed, train(disturbed, ranks, strategy), step,
                                            random.uniform(0.0, 0.06), victim);
    ASSERT_EQ(outcome.exit_code, 137) << "kill " << kill << " on " << ranks << " ranks\n" << outcome.output;
  }
  const test::Outcome last = test::spawn(train(disturbed, 3, "full"), 300);
  ASSERT_EQ(last.exit_code, 0) << last.output;

  const Steps expected = steps_of(calm), actual = steps_of(disturbed);
  EXPECT_EQ(actual.numbers, expected.numbers);  // no gap, nothing twice
  EXPECT_EQ(actual.losses, expected.losses);
  const auto weights = checkpoint::read_safetensors(disturbed / "weights.safetensors");
  for (const auto& [name, values] : checkpoint::read_safetensors(calm / "weights.safetensors").tensors) {
    ASSERT_NE(weights.find(name), nullptr) << name;
    EXPECT_TRUE(at::equal(values, *weights.find(name))) << name;
  }
}

// Checkpoints are written nearly all the time here, and the signal comes at any point of it.
TEST(Kill, ARunThatWasAskedToStopEndsWith75AndHasSavedItsLastStep) {
  const testing::TemporaryFolder folder;
  const fs::path run = folder.path() / "run";
  const test::Outcome outcome = stopped_at(folder, run, train(run, 2, "full", 100'000), 3);
  ASSERT_EQ(outcome.exit_code, 75) << outcome.output;

  const Steps steps = steps_of(run);
  ASSERT_GE(std::ssize(steps.numbers), 3);
  for (std::size_t i = 0; i < steps.numbers.size(); ++i)
    EXPECT_EQ(steps.numbers[i], static_cast<std::int64_t>(i) + 1);
  const std::int64_t last = steps.numbers.back();
  EXPECT_EQ(outcome.occurrences(fmt::format("stopped by a signal after step {};", last)), 1)
      << outcome.output;
  EXPECT_TRUE(fs::exists(run / "checkpoints" / fmt::format("step-{:08}", last) / "meta.json"));
  const test::Outcome verified =
      test::spawn(fmt::format("{} checkpoint verify {}", COHORT_PROGRAM, run.string()));
  EXPECT_EQ(verified.exit_code, 0) << verified.output;
}

std::string content(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// Starts the command, and sends SIGINT to its process, as a terminal does, once the run has reached step 3.
test::Outcome interrupted(const std::string& command, const fs::path& run, const fs::path& output) {
  testing::Job job(command, output);
  while (content(run / "metrics.jsonl").find("\"step\":3,") == std::string::npos && !job.has_ended())
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(job.process(), SIGINT);
  const int code = job.wait(std::chrono::seconds(test::kHangsAfter));
  return {code, job.output()};
}

// Without mpirun.
std::string train_alone(const fs::path& run, std::int64_t steps) {
  const std::string whole = train(run, 1, "replicate", static_cast<int>(steps));
  return whole.substr(whole.find(COHORT_PROGRAM));
}

TEST(Kill, CtrlCSavesAndTheSameCommandGoesOn) {
  const testing::TemporaryFolder folder;
  const fs::path run = folder.path() / "run";
  const test::Outcome outcome = interrupted(train_alone(run, 100'000), run, folder.path() / "out.txt");

  EXPECT_EQ(outcome.exit_code, 75) << outcome.output;
  EXPECT_EQ(outcome.occurrences("stopping after this step, saving; press Ctrl-C again to end at once\n"), 1)
      << outcome.output;
  const std::int64_t last = steps_of(run).numbers.back();
  EXPECT_TRUE(outcome.says(fmt::format("stopped by a signal after step {};", last))) << outcome.output;
  const test::Outcome on = test::spawn(train_alone(run, last + 2));
  EXPECT_EQ(on.exit_code, 0) << on.output;
  EXPECT_TRUE(on.says(fmt::format("step-{:08}", last))) << on.output;
}

// mpirun tells its ranks, and returns 1 whatever they do.
TEST(Kill, CtrlCUnderMpirunSavesAsWell) {
  const testing::TemporaryFolder folder;
  const fs::path run = folder.path() / "run";
  // Otherwise two seconds would have to do, which may be a step of a busy machine.
  const std::string patient = "env OMPI_MCA_odls_base_sigkill_timeout=3 ";
  const test::Outcome outcome =
      interrupted(patient + train(run, 2, "replicate", 100'000), run, folder.path() / "out.txt");

  EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
  EXPECT_FALSE(outcome.says("  fix:   ")) << outcome.output;
  const test::Outcome verified =
      test::spawn(fmt::format("{} checkpoint verify {}", COHORT_PROGRAM, run.string()));
  EXPECT_EQ(verified.exit_code, 0) << verified.output;
}

}  // namespace
}  // namespace cohort
