#pragma once
#include <array>
#include <cstdio>
#include <string>
#include <sys/wait.h>

#include <fmt/format.h>

namespace cohort::test {

struct Outcome {
  int exit_code = 0;   ///< 124: the program hung and was killed
  std::string output;  ///< stdout and stderr

  [[nodiscard]] int occurrences(const std::string& text) const {
    int count = 0;
    for (auto at = output.find(text); at != std::string::npos; at = output.find(text, at + text.size()))
      ++count;
    return count;
  }
  [[nodiscard]] bool says(const std::string& text) const { return occurrences(text) > 0; }
};

/// Runs a shell command; kills it when it takes longer than `seconds`.
inline Outcome spawn(const std::string& command, int seconds = 20) {
  Outcome outcome;
  std::FILE* pipe = popen(fmt::format("timeout --kill-after=2 {} {} 2>&1", seconds, command).c_str(), "r");
  if (pipe == nullptr) return {127, "popen failed"};
  std::array<char, 4096> piece{};
  for (std::size_t n = 0; (n = std::fread(piece.data(), 1, piece.size(), pipe)) > 0;) {
    outcome.output.append(piece.data(), n);
  }
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

/// The same on several ranks. MPIEXEC: a definition of the test program's target.
inline Outcome spawn_ranks(const std::string& mpiexec, int ranks, const std::string& command,
                           int seconds = 20) {
  return spawn(fmt::format("{} -n {} {}", mpiexec, ranks, command), seconds);
}

}  // namespace cohort::test
