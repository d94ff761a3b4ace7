// Training that loses a rank, or whose ranks were started with different inputs.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <tuple>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using test::Outcome;

constexpr int kPatience = 300;  // seconds: a job that takes longer hangs

class LostRanksOfTraining : public ::testing::Test {
 protected:
  [[nodiscard]] fs::path run() const { return folder_.path() / "run"; }
  [[nodiscard]] std::string train(const std::string& overrides, const fs::path& data = kData) const {
    return fmt::format("{} train {} data.path={} run_dir={} eval.every_epochs=0 {}", COHORT_PROGRAM,
                       (kTests / ".." / "configs" / "tests" / "nuclei.yaml").string(), data.string(),
                       run().string(), overrides);
  }
  /// Two ranks with a command each, as different hosts may start them.
  static Outcome on_two_ranks(const std::string& first, const std::string& second) {
    return test::spawn(fmt::format("{} -n 1 {} : -n 1 {}", COHORT_MPIEXEC, first, second), kPatience);
  }
  /// Starts a long run on 4 ranks and sends one of them a signal when it is in the middle of training.
  Outcome lose_one_rank(const std::string& signal, const std::string& timeout) const {
    const std::string job = train("train.max_steps=1000000 checkpoint.every_steps=0 comm.timeout=" + timeout);
    const fs::path script = folder_.write(
        "lose.sh",
        fmt::format("{0} -n 4 {1} &\njob=$!\n"
                    "until grep -q '\"step\":3,' {2}/metrics.jsonl 2>/dev/null; do kill -0 $job || exit 99; "
                    "sleep 0.05; done\n"
                    "kill -{3} $(pgrep -f '^{4} train.*run_dir={2} ' | head -n 1)\nwait $job\n",
                    COHORT_MPIEXEC, job, run().string(), signal, COHORT_PROGRAM));
    Outcome outcome = test::spawn("bash " + script.string(), kPatience);
    EXPECT_EQ(test::processes_left(fmt::format("^{} train.*run_dir={} ", COHORT_PROGRAM, run().string())),
              "");
    return outcome;
  }
  [[nodiscard]] std::string reports() const {
    std::string text;
    for (const auto& entry : fs::directory_iterator(run() / "failure")) {
      std::ifstream file(entry.path());
      text.append(std::istreambuf_iterator<char>(file), {});
    }
    return text;
  }

  static inline const fs::path kTests = COHORT_TEST_DATA;
  static inline const fs::path kData = kTests / "data" / "nuclei";
  testing::TemporaryFolder folder_;
};

TEST_F(LostRanksOfTraining, AStoppedRankEndsTheJobWithOneReport) {
  const Outcome outcome = lose_one_rank("STOP", "2s");

  EXPECT_EQ(outcome.exit_code, 5) << outcome.output;
  EXPECT_EQ(outcome.occurrences("cohort train: "), 1) << outcome.output;
  for (const char* part : {"(operation ", " waited 2.0 s for rank ", "  where: step ",
                           ": no answer: dead, stopped", "  last lines of the log:\n"})
    EXPECT_TRUE(outcome.says(part)) << part << "\n" << outcome.output;
  EXPECT_NE(reports().find("operations of communicator 'replicate'"), std::string::npos);
}

TEST_F(LostRanksOfTraining, ACrashedRankLeavesAReport) {
  const Outcome outcome = lose_one_rank("ABRT", "1min");

  EXPECT_EQ(outcome.exit_code, 134) << outcome.output;
  EXPECT_EQ(outcome.occurrences("cohort: SIGABRT in step "), 1) << outcome.output;
  EXPECT_NE(reports().find("cohort: SIGABRT in step "), std::string::npos);
}

TEST_F(LostRanksOfTraining, DifferentOptionsAreRefused) {
  const Outcome outcome = on_two_ranks(train("seed=1"), train("seed=2"));

  EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
  EXPECT_EQ(outcome.occurrences(
                "cohort train: ranks were started with different values of seed: '1' on rank 0, '2' "
                "on rank 1\n  where: rank 1 on "),
            1)
      << outcome.output;
  EXPECT_FALSE(fs::exists(run()));
}

TEST_F(LostRanksOfTraining, DifferentCommandsAndArgumentsAreRefused) {
  const std::string eval = fmt::format("{} eval --run {}", COHORT_PROGRAM, run().string());
  const std::string knn = fmt::format("{} knn --run {}", COHORT_PROGRAM, run().string());
  const std::string synth =
      fmt::format("{} synth --out {}", COHORT_DATA_PROGRAM, (folder_.path() / "data").string());
  const std::tuple<std::string, std::string, std::string> cases[] = {
      {eval + " --split a", eval + " --split b",
       "cohort eval: ranks were started with different values of --split: 'a' on rank 0, 'b' on rank 1\n"},
      {train(""), eval,
       "cohort train: ranks were started with different commands: 'cohort train' on rank 0, 'cohort eval' on "
       "rank 1\n"},
      {synth + "-a", synth + "-b", "cohort-data synth: ranks were started with different values of --out: '"},
      {knn, synth, "cohort knn: ranks were started with different commands: 'cohort knn' on rank 0, "},
      // These use no ranks: nobody waits for them.
      {knn, fmt::format("{} report {}", COHORT_PROGRAM, run().string()),
       "cohort knn: ranks were started with different commands: 'cohort knn' on rank 0, 'cohort report' on "
       "rank 1\n"},
      {knn, knn + " --help",
       "cohort knn: ranks were started with different arguments: '' on rank 0, '--help' on rank 1\n"},
      // One command line is wrong: nobody waits for that rank.
      {knn + " --k 5", knn + " --k x",
       "cohort knn: ranks were started with different values of --k: '5' on rank 0, 'x' on rank 1\n"}};
  for (const auto& [first, second, message] : cases) {
    const Outcome outcome = on_two_ranks(first, second);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_EQ(outcome.occurrences(message), 1) << message << outcome.output;
    EXPECT_EQ(outcome.occurrences("  where: "), 1) << outcome.output;
  }
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(LostRanksOfTraining, DifferentDatasetsAreRefused) {
  // Each rank has its own working directory, and the datasets the same name in it.
  for (const char* name : {"a", "b"}) {
    fs::create_directories(folder_.path() / name);
    fs::copy(kData, folder_.path() / name / "nuclei", fs::copy_options::recursive);
  }
  const fs::path description = folder_.path() / "b" / "nuclei" / "dataset.json";
  std::ifstream file(description);
  std::string text(std::istreambuf_iterator<char>(file), {});
  const std::size_t context = text.find("U2OS");
  ASSERT_NE(context, std::string::npos);
  text[context] = 'V';
  std::ofstream(description) << text;
  const auto in = [&](const char* name) {
    return fmt::format("-wdir {} {}", (folder_.path() / name).string(), train("", "nuclei"));
  };

  const Outcome outcome = on_two_ranks(in("a"), in("b"));

  EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
  EXPECT_EQ(outcome.occurrences("cohort train: ranks see different datasets: 'nuclei "), 1) << outcome.output;
}

TEST_F(LostRanksOfTraining, TimesOfTheRanksAreOnRecord) {
  const Outcome outcome =
      test::spawn(fmt::format("{} -n 2 {}", COHORT_MPIEXEC, train("train.max_steps=3")), kPatience);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;

  std::ifstream lines(run() / "metrics.jsonl");
  const std::string text(std::istreambuf_iterator<char>(lines), {});
  EXPECT_NE(text.find(R"({"kind":"ranks","step":3,"steps":2,"hosts":[)"), std::string::npos) << text;
}

}  // namespace
}  // namespace cohort
