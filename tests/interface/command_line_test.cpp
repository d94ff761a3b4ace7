// How commands explain themselves: --help, manual pages, completion, and what is said of wrong command lines.
#include <algorithm>
#include <array>
#include <filesystem>
#include <sstream>

#include <gtest/gtest.h>

#include "cohort/core/file.h"
#include "cohort/core/printable.h"

#include "command_line/command.h"
#include "command_line/completion.h"
#include "command_line/help.h"
#include "command_line/man_page.h"

namespace cohort::command_line {
namespace {

/// A program with one command that explains itself.
class Program {
 public:
  Program() {
    program.require_subcommand(1);
    CLI::App& command = add_command(
        program,
        {"score",
         "Score a model on splits",
         {"mpirun -n 2 prog score run.yaml --format png"},
         with(endings_alone(), {ExitCode::data, "a file is missing"}),
         "A first line that says .more of what the command does, and of what it does not do at all."});
    command.add_option("CONFIG", config_, "configuration file")->required();
    command.add_option("OVERRIDE", overrides_, "KEY=VALUE");
    command.add_option("--format", format_, "what is written, in many words that need more than one line")
        ->check(CLI::IsMember({"png", "npy"}))
        ->capture_default_str();
  }

  Command program{{"prog", "Trains models", {"prog score run.yaml"}, endings_on_ranks()}};
  CLI::App& command() { return *program.get_subcommand("score"); }

  Error::Text trouble(std::vector<std::string> words) {
    std::vector<char*> arguments{program_name_.data()};
    for (std::string& word : words) arguments.push_back(word.data());
    try {
      program.parse(static_cast<int>(arguments.size()), arguments.data());
    } catch (const CLI::ParseError& error) {
      return explain(program, arguments, error);
    }
    return {};
  }

 private:
  std::string config_, format_ = "png", program_name_ = "prog";
  std::vector<std::string> overrides_;
};

TEST(Help, FitsTheTerminal) {
  Program with_command;
  for (const std::size_t columns : {40U, 60U, 80U, 100U}) {
    std::istringstream lines(help_text(with_command.command(), columns));
    for (std::string line; std::getline(lines, line);) {
      const bool is_example = line.find("mpirun") != std::string::npos;
      EXPECT_TRUE(is_example || display_width(line) <= columns) << columns << ": " << line;
    }
  }
}

TEST(Help, HasSummaryUsageOptionsExamplesAndExitCodes) {
  Program with_command;
  const std::string text = help_text(with_command.command(), 80);
  std::size_t at = 0;
  for (const char* part :
       {"Score a model on splits.\n", "Usage: prog score [OPTIONS] CONFIG [OVERRIDE...]\n", "Arguments:\n",
        "configuration file (required)", "Options:\n", "-h, --help", "--format {png,npy}",
        "(default:", "Examples:\n  mpirun -n 2 prog score run.yaml --format png\n",
        "Exit codes:\n   0  done\n", "   3  a file is missing\n"}) {
    const std::size_t found = text.find(part, at);
    ASSERT_NE(found, std::string::npos) << part << "\n" << text;
    at = found;
  }
}

TEST(ManPage, IsRoff) {
  Program with_command;
  const std::string page = man_page(with_command.command());
  EXPECT_EQ(man_page_file(with_command.command()), "prog-score.1");
  EXPECT_TRUE(page.starts_with(".TH PROG\\-SCORE 1 "));
  for (const char* part : {".SH NAME\nprog\\-score \\- Score", ".SH SYNOPSIS\n", ".SH OPTIONS\n",
                           "\\fB\\-\\-format\\fR \\fI{png,npy}\\fR", ".SH EXAMPLES\n.EX\nmpirun \\-n 2 prog",
                           ".SH EXIT STATUS\n", ".SH SEE ALSO\n\\fBprog\\fR(1)"})
    EXPECT_NE(page.find(part), std::string::npos) << part << "\n" << page;
}

TEST(Completion, KnowsCommandsOptionsAndValues) {
  Program with_command;
  const std::vector<std::string> keys{"optimizer.lr"};
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = completion(shell, with_command.program, keys);
    for (const char* word : {"score", "format", "png", "npy", "optimizer.lr"})
      EXPECT_NE(script.find(word), std::string::npos) << shell << ": " << word;
  }
}

TEST(WrongCommandLine, NamesTheNearest) {
  Program with_command;
  const auto command = with_command.trouble({"scor"});
  EXPECT_EQ(command.what, "unknown command 'scor'");
  EXPECT_EQ(command.fix, "did you mean 'score'?");
  const auto option = with_command.trouble({"score", "x.yaml", "--fromat", "png"});
  EXPECT_EQ(option.what, "unknown option '--fromat'");
  EXPECT_EQ(option.fix, "did you mean '--format'?");
  const auto far = with_command.trouble({"score", "x.yaml", "--zebra"});
  EXPECT_EQ(far.fix, "prog score --help");
  EXPECT_EQ(with_command.trouble({}).what, "which command?");
}

TEST(CheckCommands, FindsThoseThatExplainNothing) {
  Program with_command;
  EXPECT_EQ(check_commands(with_command.program), std::vector<std::string>{});
  with_command.program.add_subcommand("bare", "Says nothing else");
  add_command(with_command.program, {"wrong", "does things", {"prog wrong --no-such-option"}, {}});

  const auto lines = check_commands(with_command.program);

  ASSERT_EQ(lines.size(), 4U) << lines.back();
  EXPECT_EQ(lines[0], "prog bare: was not made by command_line::add_command()");
  EXPECT_EQ(lines[1], "prog wrong: has no sentence that begins with a capital letter");
  EXPECT_EQ(lines[2], "prog wrong: has no exit codes");
  EXPECT_TRUE(lines[3].starts_with("prog wrong: 'prog wrong --no-such-option' does not parse: ")) << lines[3];
}

TEST(ExitCodes, AreThoseOfTheDocument) {
  const std::string document =
      read_file(std::filesystem::path(COHORT_TEST_DATA) / ".." / "docs" / "errors.md");
  EXPECT_NE(document.find(exit_code_table()), std::string::npos) << exit_code_table();
}

TEST(ExitCodes, OfACommandRise) {
  const auto endings = endings_of_training();
  EXPECT_EQ(endings.size(), exit_code_lines().size());
  EXPECT_TRUE(std::is_sorted(endings.begin(), endings.end(),
                             [](const Ending& a, const Ending& b) { return a.code < b.code; }));
}

}  // namespace
}  // namespace cohort::command_line
