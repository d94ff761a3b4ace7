#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/file.h"

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort::e2e {

/// The program `cohort` and one short run on the fixture tests/data/nuclei, which all tests of a suite share.
class RunCommands : public ::testing::Test {
 protected:
  /// Trains that run: in SetUpTestSuite().
  static void train(const std::string& options) {
    folder_ = std::make_unique<testing::TemporaryFolder>();
    trained_ =
        run(2, fmt::format("train {} run_dir={} train.max_steps=4 {}", config(), run_folder(), options));
  }
  static void TearDownTestSuite() { folder_.reset(); }
  void SetUp() override { ASSERT_EQ(trained_.exit_code, 0) << trained_.output; }

  static std::string config() {
    const std::filesystem::path tests = COHORT_TEST_DATA;
    return fmt::format("{} data.path={}", (tests / ".." / "configs" / "tests" / "nuclei.yaml").string(),
                       (tests / "data" / "nuclei").string());
  }
  static std::string run_folder() { return place("run"); }
  static std::string place(const std::string& name) { return (folder_->path() / name).string(); }
  static std::string written(const std::string& name) { return read_file(folder_->path() / name); }

  static test::Outcome run(int ranks, const std::string& command) {
    return test::spawn_ranks(COHORT_MPIEXEC, ranks, fmt::format("{} {}", COHORT_PROGRAM, command), 120);
  }
  static void expect_done(const test::Outcome& outcome) { EXPECT_EQ(outcome.exit_code, 0) << outcome.output; }
  static void expect_refused(const std::string& command, const std::string& message) {
    const test::Outcome outcome = run(2, command);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_EQ(outcome.occurrences(message), 1) << outcome.output;
  }

  static inline std::unique_ptr<testing::TemporaryFolder> folder_;
  static inline test::Outcome trained_;
};

}  // namespace cohort::e2e
