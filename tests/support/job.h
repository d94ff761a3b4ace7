#pragma once
#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace cohort::testing {

/// A program with its arguments, as the shell reads them, in a process group of its own, whose output goes to
/// a file. The group is killed when the job ends before the command does.
class Job {
 public:
  Job(const std::string& command, std::filesystem::path output) : output_(std::move(output)) {
    process_ = fork();
    if (process_ < 0) throw std::runtime_error("fork failed");
    if (process_ > 0) return;
    setpgid(0, 0);
    const std::string line = "exec </dev/null >'" + output_.string() + "' 2>&1; exec " + command;
    execl("/bin/bash", "bash", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  ~Job() {
    if (!has_ended_) end();
  }

  [[nodiscard]] pid_t process() const noexcept { return process_; }

  /// Whether it has ended; exit_code() is known then.
  bool has_ended() {
    int status = 0;
    if (!has_ended_ && waitpid(process_, &status, WNOHANG) == process_) take(status);
    return has_ended_;
  }
  /// Waits for its end. After `limit` the group is killed and the exit code is 124.
  int wait(std::chrono::seconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!has_ended() && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (!has_ended_) end();
    return exit_code_;
  }
  [[nodiscard]] std::string output() const {
    std::ifstream file(output_);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  void take(int status) {
    has_ended_ = true;
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  void end() {
    kill(-process_, SIGKILL);
    int status = 0;
    waitpid(process_, &status, 0);
    has_ended_ = true;
    exit_code_ = 124;
  }

  std::filesystem::path output_;
  pid_t process_ = -1;
  bool has_ended_ = false;
  int exit_code_ = 124;
};

/// Processes whose first argument is `program` and that have an argument `argument`, by their number.
inline std::vector<pid_t> processes_of(const std::string& program, const std::string& argument) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "cmdline");
    const std::string line{std::istreambuf_iterator<char>(file), {}};
    const std::string with_ends = '\0' + line;
    if (!line.starts_with(program + '\0')) continue;
    if (with_ends.find('\0' + argument + '\0') != std::string::npos) found.push_back(std::stoi(name));
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace cohort::testing
