#pragma once
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cohort/core/error.h"

#include "command_line/exit_codes.h"

namespace cohort::command_line {

/// How a command explains itself: in --help and in its manual page. `docs check` enforces it.
struct CommandText {
  std::string name;
  std::string summary;  ///< "Score a model on splits of a dataset": capital letter, no full stop
  std::vector<std::string> examples;  ///< one to three command lines, which parse
  std::vector<Ending> endings;        ///< exit codes, rising
  std::string details = {};           ///< paragraphs, each on one line of the text; may be empty
};

/// A program, or one of its commands.
class Command : public CLI::App {
 public:
  /// A program: --help and --version are there.
  explicit Command(CommandText text);
  Command(CommandText text, CLI::App& parent);
  [[nodiscard]] const CommandText& text() const noexcept { return text_; }

 private:
  CommandText text_;
};

/// Every command of the programs is made by it. The reference is good as long as `parent`.
CLI::App& add_command(CLI::App& parent, CommandText text);

/// What `command` says of itself; nullptr: it was not made by add_command().
const CommandText* text_of(const CLI::App& command);

/// "cohort checkpoint inspect": the names from the program to this command.
std::string full_name(const CLI::App& command);

/// The command that the last command line chose: `program` itself, or one below it.
const CLI::App& chosen_command(const CLI::App& program);

/// Calls `visit` with `program` and everything below it that is shown, in the order of --help.
void for_each_command(const CLI::App& program, const std::function<void(const CLI::App&)>& visit);

/// What is wrong with a command line, and what to type instead.
Error::Text explain(const CLI::App& program, std::span<char* const> arguments, const CLI::ParseError& error);

/// What `docs check` finds wrong with the commands of `program`, a line each; empty: nothing.
std::vector<std::string> check_commands(CLI::App& program);

}  // namespace cohort::command_line
