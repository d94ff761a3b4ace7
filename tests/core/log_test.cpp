#include "cohort/core/log.h"

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "../support/temporary_folder.h"

namespace cohort {
namespace {

class Log : public ::testing::Test {
 protected:
  void TearDown() override { set_log_rank(0, 1); }

  template <class Action>
  static std::string printed(Action action) {
    ::testing::internal::CaptureStderr();
    action();
    return ::testing::internal::GetCapturedStderr();
  }
};

TEST_F(Log, RankZeroSpeaks) {
  set_log_rank(0, 4);

  EXPECT_EQ(printed([] { log_info("step {} 100%"); }), "step {} 100%\n");
  EXPECT_EQ(printed([] { log_warning("slow disk"); }), "warning: slow disk\n");
  EXPECT_EQ(printed([] { log_error("disk full"); }), "[rank 0/4] disk full\n");
}

TEST_F(Log, OtherRanksAreSilentUnlessSomethingIsWrong) {
  set_log_rank(2, 4);

  EXPECT_EQ(printed([] { log_info("step"); }), "");
  EXPECT_EQ(printed([] { log_warning("slow disk"); }), "");
  EXPECT_EQ(printed([] { log_error("disk full"); }), "[rank 2/4] disk full\n");
}

TEST_F(Log, OneProcessNamesNoRank) {
  EXPECT_EQ(printed([] { log_error("disk full"); }), "disk full\n");
}

TEST_F(Log, GoesToTheFileFromThenOn) {
  const cohort::testing::TemporaryFolder folder;
  const auto file = folder.path() / "log.txt";
  printed([&] {
    log_info("before");
    start_log_file(file);
    log_info("after {}");
  });

  const std::string text = read_file(file);

  EXPECT_EQ(text.find("before"), std::string::npos);
  EXPECT_NE(text.find(" info after {}\n"), std::string::npos) << text;
}

TEST_F(Log, AFileThatCannotBeOpenedIsADataError) {
  const cohort::testing::TemporaryFolder folder;

  EXPECT_THROW(start_log_file(folder.path()), DataError);
}

TEST_F(Log, OtherRanksWriteNoFile) {
  const cohort::testing::TemporaryFolder folder;
  set_log_rank(1, 2);

  start_log_file(folder.path() / "log.txt");

  EXPECT_FALSE(std::filesystem::exists(folder.path() / "log.txt"));
}

}  // namespace
}  // namespace cohort
