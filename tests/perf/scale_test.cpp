// Memory of the commands by the number of rows, as cohort-perf scale measures it: what one row more may take.
// A rank's resident memory varies by some MiB from run to run: what is allowed leaves that much room over the
// numbers of docs/performance.md, and far less than a text for each row would take.
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

using Json = nlohmann::json;
using test::Outcome;

class Scale : public ::testing::Test {
 protected:
  Outcome run(const std::string& options, const std::string& launcher = COHORT_MPIEXEC) {
    return test::spawn(fmt::format("{} scale --dir {} --launcher '{}' --ranks 2 {}", COHORT_PERF_PROGRAM,
                                   folder_.path().string(), launcher, options),
                       1000);
  }

  /// The rows of the table, by command.
  static std::map<std::string, Json> lines_of(const Outcome& outcome) {
    std::map<std::string, Json> found;
    std::istringstream lines(outcome.output);
    for (std::string line; std::getline(lines, line);) {
      const Json json = Json::parse(line, nullptr, false);
      if (json.is_object() && json.value("kind", "") == "row") found[json.at("command")] = json;
    }
    return found;
  }

  /// `most`: bytes of each command that a row may take over all ranks.
  void expect_slopes(const std::string& rows, const std::map<std::string, double>& most) {
    std::vector<std::string> commands;
    for (const auto& [command, bytes] : most) commands.push_back(command);
    const Outcome outcome =
        run(fmt::format("--rows {} --json --commands '{}'", rows, fmt::join(commands, ",")));

    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    const auto lines = lines_of(outcome);
    ASSERT_EQ(lines.size(), most.size()) << outcome.output;
    for (const auto& [command, bytes] : most) {
      EXPECT_LT(lines.at(command).at("all_ranks_B_row"), bytes) << command << "\n" << outcome.output;
      EXPECT_GT(lines.at(command).at("least_rows_MiB"), 10) << command;
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Scale, MemoryOfDataCommandsHardlyGrowsWithRows) {
  expect_slopes("20000,420000", {{"convert manifest", 70}, {"inspect", 20}, {"verify", 20}, {"train", 60}});
}

TEST_F(Scale, NorDoesThatOfCommandsThatReadThemAgain) {
  expect_slopes("20000,220000", {{"split", 55}, {"merge", 50}, {"knn", 60}, {"probe", 50}});
}

TEST_F(Scale, SaysWhichCommandFailed) {
  EXPECT_EQ(run("--rows 5000").exit_code, 2);
  EXPECT_EQ(run("--rows 5001,5100").exit_code, 2) << "one number, rounded up to hundreds";
  const Outcome large = run("--rows 2000,1000000000 --commands 'convert npz'");
  EXPECT_TRUE(large.says("an archive of 1000000000 rows takes more than 4 GiB")) << large.output;
  std::filesystem::create_directory(folder_.path() / "cohort-perf-scale");
  const Outcome there = run("--rows 2000,3000 --commands inspect");
  EXPECT_EQ(there.exit_code, 3) << there.output;
  EXPECT_TRUE(there.says("there is a folder of this name already")) << there.output;
  EXPECT_TRUE(std::filesystem::remove(folder_.path() / "cohort-perf-scale")) << "it was removed";
  const Outcome broken = run("--rows 2000,3000 --commands inspect", "mpirun --no-such-option");
  EXPECT_EQ(broken.exit_code, 5) << broken.output;
  EXPECT_TRUE(broken.says("'convert manifest' with 2000 rows ended with code")) << broken.output;
}

TEST_F(Scale, APeakIsThatOfTheProgram) {
  // 300 MiB that are touched: dd reads them into one buffer.
  const auto peak = (folder_.path() / "peak").string();
  const Outcome outcome = test::spawn(fmt::format(
      "{} peak --out {} -- dd if=/dev/zero of=/dev/null bs=300M count=1", COHORT_PERF_PROGRAM, peak));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const double bytes = std::stod(test::spawn("cat " + peak).output);
  EXPECT_GE(bytes, 300e6);
  EXPECT_LT(bytes, 330e6);

  EXPECT_EQ(test::spawn(fmt::format("{} peak", COHORT_PERF_PROGRAM)).exit_code, 2);
  EXPECT_EQ(test::spawn(fmt::format("{} peak -- false", COHORT_PERF_PROGRAM)).exit_code, 1);
  EXPECT_EQ(test::spawn(fmt::format("{} peak -- /no/such/program", COHORT_PERF_PROGRAM)).exit_code, 2);
}

}  // namespace
}  // namespace cohort
