#include "cohort/core/log.h"

#include <sys/stat.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "../support/faults.h"
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

TEST_F(Log, WritesThroughNoLinkAndWaitsForNoFifo) {
  const cohort::testing::TemporaryFolder folder;
  const auto secret = folder.write("secret", "old"), link = folder.path() / "link",
             fifo = folder.path() / "fifo";
  std::filesystem::create_symlink(secret, link);
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);

  EXPECT_THROW(start_log_file(link), DataError);
  EXPECT_THROW(start_log_file(fifo), DataError);
  EXPECT_EQ(read_file(secret), "old");
}

TEST_F(Log, SaysOnceThatLinesAreMissingInTheFile) {
  const cohort::testing::TemporaryFolder folder;
  const auto file = folder.write("log.txt", std::string(4096, 'x'));  // more than is printed here
  const std::string text = printed([&] {
    start_log_file(file);
    const cohort::testing::FileSizeLimit limit(4096);
    log_info("one");
    log_info("two");
  });

  EXPECT_EQ(text,
            fmt::format("one\nwarning: {}: cannot write the log: File too large; lines are missing there\n"
                        "two\n",
                        file.string()));
}

TEST_F(Log, OtherRanksWriteNoFile) {
  const cohort::testing::TemporaryFolder folder;
  set_log_rank(1, 2);

  start_log_file(folder.path() / "log.txt");

  EXPECT_FALSE(std::filesystem::exists(folder.path() / "log.txt"));
}

}  // namespace
}  // namespace cohort
