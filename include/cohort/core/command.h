#pragma once
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace cohort {

/// How another program ended, and what it printed.
struct CommandResult {
  int status = 0;              ///< its exit code; 127: there is no such program; 124: it was too slow
  std::string output, errors;  ///< its standard output and standard error
};

/// Runs a program, found in PATH, and waits for its end; without a shell, so that every word reaches it as it
/// is. It is killed when it takes longer than `patience`.
CommandResult run_command(const std::vector<std::string>& words, std::chrono::seconds patience);

/// A word as a shell reads it back, whatever is in it: plain, or in single quotes. Throws UsageError for
/// control characters (line breaks), which no path or option has for a good reason.
std::string shell_quoted(std::string_view word);
/// Several, with spaces between them.
std::string shell_quoted(const std::vector<std::string>& words);

}  // namespace cohort
