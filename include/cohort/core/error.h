#pragma once
#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/core.h>

namespace cohort {

/// What a Cohort program returns to the shell; docs/errors.md lists the causes.
enum class ExitCode : int {
  done = 0,
  bug = 1,
  usage = 2,
  data = 3,
  numerical = 4,
  rank_failed = 5,
  out_of_memory = 6,
  stopped = 75
};

/// An error that a user can act on. what() reads as three lines: what happened; where; how to fix it.
class Error : public std::runtime_error {
 public:
  struct Text {
    std::string what;   ///< "unknown key 'optimiser.lr'"
    std::string where;  ///< "configs/x.yaml:12"; a file, key, rank or shard, never a source line
    std::string fix;    ///< "did you mean 'optimizer.lr'?"
  };
  Error(ExitCode code, Text text);
  [[nodiscard]] ExitCode exit_code() const noexcept { return code_; }
  [[nodiscard]] const Text& text() const noexcept { return text_; }

 private:
  ExitCode code_;
  Text text_;
};

/// Bad command line or configuration: exit code 2.
struct UsageError : Error {
  explicit UsageError(Text text) : Error(ExitCode::usage, std::move(text)) {}
};
/// Bad or missing data, or a file that cannot be read or written: exit code 3.
struct DataError : Error {
  explicit DataError(Text text) : Error(ExitCode::data, std::move(text)) {}
};
/// Training left the numbers: NaN or infinity in loss or gradients: exit code 4.
struct NumericalError : Error {
  explicit NumericalError(Text text) : Error(ExitCode::numerical, std::move(text)) {}
};
/// Another rank died, hung or threw: exit code 5.
struct RankError : Error {
  explicit RankError(Text text) : Error(ExitCode::rank_failed, std::move(text)) {}
};
/// There is not enough memory: exit code 6.
struct MemoryError : Error {
  explicit MemoryError(Text text) : Error(ExitCode::out_of_memory, std::move(text)) {}
};

/// A broken promise between two parts of Cohort. Carries the source line; never the user's fault.
struct Bug : std::logic_error {
  using std::logic_error::logic_error;
};
[[noreturn]] void fail_check(const char* expression, const std::string& message,
                             std::source_location where = std::source_location::current());

}  // namespace cohort

/// COHORT_CHECK(condition, format, values…): throws Bug. Always on, release builds too; the message is only
/// built on failure.
#define COHORT_CHECK(condition, ...) \
  (static_cast<bool>(condition) ? void() : ::cohort::fail_check(#condition, ::fmt::format(__VA_ARGS__)))
