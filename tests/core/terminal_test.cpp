#include "cohort/core/terminal.h"

#include <cstdlib>
#include <fcntl.h>
#include <sys/ioctl.h>

#include <gtest/gtest.h>

#include "cohort/core/count_progress.h"
#include "cohort/core/file.h"

namespace cohort {
namespace {

TEST(TerminalColumns, OfAFileAreUnknown) {
  const FileDescriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(terminal_columns(null.get()).has_value());
}

TEST(TerminalColumns, AreAskedOfTheTerminalThenOfTheEnvironment) {
  const FileDescriptor master(::posix_openpt(O_RDWR | O_NOCTTY));
  ASSERT_TRUE(master && ::grantpt(master.get()) == 0 && ::unlockpt(master.get()) == 0)
      << "no pseudo-terminal";
  const FileDescriptor terminal(::open(::ptsname(master.get()), O_RDWR | O_NOCTTY));
  ASSERT_TRUE(terminal);
  winsize size{};
  ASSERT_EQ(::ioctl(master.get(), TIOCSWINSZ, &size), 0);  // as under mpirun: it does not say
  ::setenv("COLUMNS", "91", 1);
  EXPECT_EQ(terminal_columns(terminal.get()), 91U);
  size.ws_col = 57;
  ASSERT_EQ(::ioctl(master.get(), TIOCSWINSZ, &size), 0);
  EXPECT_EQ(terminal_columns(terminal.get()), 57U);
  ::unsetenv("COLUMNS");
}

TEST(PartedLine, LeavesOutTheLeastImportant) {
  PartedLine line;
  line.add("step 1", 9);
  line.add("grad", 1);
  line.add("loss", 5);
  line.add("mem", 1);

  EXPECT_EQ(line.text(), "step 1  grad  loss  mem");
  EXPECT_EQ(line.text(std::nullopt), line.text());
  EXPECT_EQ(line.text(23), line.text());
  EXPECT_EQ(line.text(22), "step 1  grad  loss") << "of equals the last goes first";
  EXPECT_EQ(line.text(17), "step 1  loss");
  EXPECT_EQ(line.text(6), "step 1");
  EXPECT_EQ(line.text(4), "ste…");
  PartedLine steering;
  steering.add("a\x1b[2J", 1);
  EXPECT_EQ(steering.text(std::nullopt), R"(a\x1b[2J)") << "whatever the width";
}

TEST(CountProgress, SaysHowFarItIs) {
  const CountProgress progress("writing", 5000, 4);
  const PartedLine line = progress.line(0.25, std::chrono::seconds(10));

  EXPECT_EQ(line.text(), "writing: 25 %  1,250 of 5,000 images  125 images/s on 4 ranks  30.0 s left");
  EXPECT_EQ(line.text(60), "writing: 25 %  125 images/s on 4 ranks  30.0 s left");
  EXPECT_EQ(line.text(30), "writing: 25 %  30.0 s left");
}

}  // namespace
}  // namespace cohort
