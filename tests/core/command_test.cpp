#include "cohort/core/command.h"

#include <chrono>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

namespace cohort {
namespace {

using std::chrono::seconds;

TEST(Command, TellsHowTheProgramEndedAndWhatItPrinted) {
  const CommandResult result = run_command({"sh", "-c", "echo out; echo wrong >&2; exit 7"}, seconds(100));

  EXPECT_EQ(result.status, 7);
  EXPECT_EQ(result.output, "out\n");
  EXPECT_EQ(result.errors, "wrong\n");
}

TEST(Command, WordsReachTheProgramAsTheyAre) {
  EXPECT_EQ(run_command({"printf", "%s|", "a b", "$(id)", "'", "*"}, seconds(100)).output, "a b|$(id)|'|*|");
}

TEST(Command, LongOutputIsReadWhole) {
  const CommandResult result =
      run_command({"sh", "-c", "head -c 300000 /dev/zero >&2; head -c 200000 /dev/zero"}, seconds(100));

  EXPECT_EQ(result.output.size(), 200000U);
  EXPECT_EQ(result.errors.size(), 300000U);
}

TEST(Command, AProgramThatIsTooSlowIsKilled) {
  EXPECT_EQ(run_command({"sleep", "60"}, seconds(1)).status, 124);
}

TEST(Command, AProgramThatIsNotThereHas127) {
  EXPECT_EQ(run_command({"no-such-program"}, seconds(100)).status, 127);
}

TEST(Command, ASignalIsSeen) {
  EXPECT_EQ(run_command({"sh", "-c", "kill -KILL $$"}, seconds(100)).status, 137);
}

TEST(ShellQuoted, AShellReadsTheWordBack) {
  EXPECT_EQ(shell_quoted("configs/a-b_c.yaml"), "configs/a-b_c.yaml");
  for (const std::string word : {"", " ", "a b", "'", "\"", "$(touch x)", "`x`", "$HOME", "\\", "*", "#a",
                                 "~", "a;b", "!!", "ü", "''\\''"}) {
    EXPECT_EQ(run_command({"sh", "-c", "printf %s " + shell_quoted(word)}, seconds(100)).output, word);
  }
  EXPECT_EQ(shell_quoted(std::vector<std::string>{"a", "b c"}), "a 'b c'");
}

TEST(ShellQuoted, RefusesControlCharacters) {
  for (const char* word : {"a\nb", "\r", "\t", "\x7f"})
    EXPECT_THROW((void)shell_quoted(std::string_view(word)), UsageError);
}

}  // namespace
}  // namespace cohort
