#include "cohort/core/command.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

extern char** environ;

namespace cohort {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kNotFound = 127, kTooSlow = 124;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    COHORT_CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0, "pipe2: {}", std::strerror(errno));
    read = FileDescriptor(ends[0]);
    write = FileDescriptor(ends[1]);
  }
  FileDescriptor read, write;
};

/// What the program gets instead of our descriptors.
class Redirections {
 public:
  Redirections() noexcept { posix_spawn_file_actions_init(&actions_); }
  Redirections(const Redirections&) = delete;
  Redirections& operator=(const Redirections&) = delete;
  ~Redirections() { posix_spawn_file_actions_destroy(&actions_); }

  void read_nothing() { posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0); }
  void write_to(const Pipe& pipe, int descriptor) {
    posix_spawn_file_actions_adddup2(&actions_, pipe.write.get(), descriptor);
  }
  [[nodiscard]] const posix_spawn_file_actions_t* get() const noexcept { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

/// A program takes all signals, whatever this thread leaves to another one.
class Attributes {
 public:
  Attributes() noexcept {
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
  }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  ~Attributes() { posix_spawnattr_destroy(&attributes_); }
  [[nodiscard]] const posix_spawnattr_t* get() const noexcept { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

/// Appends what is there to read; closes the pipe at its end.
void take(FileDescriptor& from, std::string& text) {
  std::array<char, 4096> piece{};
  const ssize_t count = ::read(from.get(), piece.data(), piece.size());
  if (count > 0) text.append(piece.data(), static_cast<std::size_t>(count));
  if (count == 0 || (count < 0 && errno != EINTR)) from.reset();
}

/// Until both pipes have ended. False: that took too long.
bool take_all(FileDescriptor& output, FileDescriptor& errors, CommandResult& result,
              Clock::time_point until) {
  while (output || errors) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    std::array<pollfd, 2> waiting{
        {{output ? output.get() : -1, POLLIN, 0}, {errors ? errors.get() : -1, POLLIN, 0}}};
    ::poll(waiting.data(), waiting.size(), static_cast<int>(std::min<std::int64_t>(left, 1000)));
    if (waiting[0].revents != 0) take(output, result.output);
    if (waiting[1].revents != 0) take(errors, result.errors);
  }
  return true;
}

bool is_plain(char letter) {
  const bool alphanumeric = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                            (letter >= '0' && letter <= '9');
  return alphanumeric || std::string_view("_./=:,@%+-").find(letter) != std::string_view::npos;
}

bool is_control(char letter) {
  return static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f;
}

}  // namespace

CommandResult run_command(const std::vector<std::string>& words, std::chrono::seconds patience) {
  Pipe output, errors;
  Redirections redirections;
  redirections.read_nothing();
  redirections.write_to(output, STDOUT_FILENO);
  redirections.write_to(errors, STDERR_FILENO);
  std::vector<std::string> copies = words;
  std::vector<char*> arguments;
  for (std::string& word : copies) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  pid_t child = 0;
  CommandResult result;
  const Attributes attributes;
  if (::posix_spawnp(&child, arguments[0], redirections.get(), attributes.get(), arguments.data(), environ) !=
      0)
    return {kNotFound, "", fmt::format("there is no program '{}'", words.front())};
  output.write.reset();
  errors.write.reset();
  const bool in_time = take_all(output.read, errors.read, result, Clock::now() + patience);
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  result.status = !in_time ? kTooSlow : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string shell_quoted(std::string_view word) {
  if (std::any_of(word.begin(), word.end(), is_control)) {
    std::string shown(word);
    std::replace_if(shown.begin(), shown.end(), is_control, '?');
    throw UsageError({fmt::format("'{}' has a line break or another control character", shown),
                      "command line", "choose a name without"});
  }
  if (!word.empty() && std::all_of(word.begin(), word.end(), is_plain)) return std::string(word);
  std::string quoted = "'";
  for (const char letter : word) quoted += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return quoted + "'";
}

std::string shell_quoted(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + shell_quoted(word);
  return line;
}

}  // namespace cohort
