#pragma once
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <sys/wait.h>

#include <fmt/format.h>

namespace cohort::testing {

/// What a command printed (stdout and stderr together) and how it ended.
struct Outcome {
  int exit_code = -1;
  std::string output;
  double seconds = 0.0;
  [[nodiscard]] bool has(const std::string& text) const { return output.find(text) != std::string::npos; }
  [[nodiscard]] int count(const std::string& text) const {
    int found = 0;
    for (auto at = output.find(text); at != std::string::npos; at = output.find(text, at + text.size()))
      ++found;
    return found;
  }
};

/// Runs a shell command; `timeout(1)` kills it after `limit_seconds` (exit code 124), so that a hang fails a
/// test instead of stopping it.
inline Outcome run_command(const std::string& command, int limit_seconds = 60) {
  const auto start = std::chrono::steady_clock::now();
  const std::string limited = fmt::format("timeout -k 5 {} sh -c '{}' 2>&1", limit_seconds, command);
  Outcome outcome;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(limited.c_str(), "r"), [](FILE*) { return 0; });
  std::array<char, 4096> piece{};
  while (const std::size_t count = std::fread(piece.data(), 1, piece.size(), pipe.get())) {
    outcome.output.append(piece.data(), count);
  }
  const int status = pclose(pipe.get());
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

}  // namespace cohort::testing
