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

/// What takes longer hangs, on a busy machine too.
inline constexpr int kHangsAfter = 300;

/// Runs a shell command; kills it when it takes longer than `seconds`.
inline Outcome spawn(const std::string& command, int seconds = kHangsAfter) {
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
                           int seconds = kHangsAfter) {
  return spawn(fmt::format("{} -n {} {}", mpiexec, ranks, command), seconds);
}

/// The processes whose command line matches `pattern` (of pgrep -f) after `seconds`, or none as soon as there
/// are none: mpirun may end while the system still takes apart what it killed.
inline std::string processes_left(const std::string& pattern, int seconds = 10) {
  constexpr int kLooksPerSecond = 10;
  std::string left;
  for (int look = 0; look < seconds * kLooksPerSecond; ++look) {
    const Outcome found = spawn(fmt::format("pgrep -f '{}'", pattern));
    if (found.exit_code == 1) return {};
    left = found.output;
    spawn("sleep 0.1");
  }
  return left;
}

}  // namespace cohort::test
