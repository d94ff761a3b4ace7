#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/core/error.h"

namespace cohort::command_line {

/// A line of the table in docs/errors.md.
struct ExitCodeLine {
  ExitCode code;
  std::string_view meaning;  ///< as --help says it
  std::string_view more;     ///< what docs/errors.md adds
  std::string_view remedy;
};

std::span<const ExitCodeLine> exit_code_lines();

/// The table of docs/errors.md.
std::string exit_code_table();

/// An exit code of a command, and what it means there.
struct Ending {
  Ending(ExitCode exit_code);  ///< what it means everywhere
  Ending(ExitCode exit_code, std::string what) : code(exit_code), meaning(std::move(what)) {}

  ExitCode code;
  std::string meaning;
};

std::vector<Ending> endings_alone();        ///< of commands that are one process
std::vector<Ending> endings_on_ranks();     ///< of those that may be started on several ranks
std::vector<Ending> endings_of_training();  ///< all there are

/// `endings`, where `changed.code` means something else, or comes besides.
std::vector<Ending> with(std::vector<Ending> endings, Ending changed);

}  // namespace cohort::command_line
