#include "comm/end_job.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <unistd.h>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <mpi.h>

#include "cohort/comm/flight_recorder.h"
#include "cohort/comm/session.h"
#include "cohort/core/file.h"
#include "cohort/core/host.h"
#include "cohort/core/log_history.h"
#include "cohort/core/text.h"

#include "comm/fatal_signals.h"
#include "comm/rank_status.h"
#include "comm/watchdog.h"

namespace cohort::comm {
namespace {

using namespace std::chrono_literals;

constexpr auto kAbortTime = 5s;   // for MPI_Abort to end this process
constexpr auto kSilentTime = 5s;  // for the rank that tells of the failure to end the job
constexpr auto kUnwindingTime = 5s;
constexpr std::size_t kShownLines = 5;  // of the log, in a message

struct Process {
  int rank = 0, size = 1;
  std::string program;  // empty: not one of run_ranks()
  std::filesystem::path failure_folder;
  bool has_final_report = false;
};

std::mutex process_mutex;
Process& process() {
  static Process instance;
  return instance;
}

std::string rank_text() {
  return fmt::format("rank {} of {} on {}", process().rank, process().size, host_name());
}

/// The last operations of each communicator, oldest first.
std::string operations_text() {
  constexpr std::int64_t kShown = 16;
  std::string text;
  for (const OperationHistory* history = first_history(); history != nullptr; history = history->next()) {
    const std::int64_t last = history->submitted();
    if (last == 0) continue;
    text += fmt::format("operations of communicator '{}'{}\n", history->name(),
                        history->in_use() ? "" : ", which is gone");
    for (std::int64_t sequence = std::max<std::int64_t>(1, last - kShown + 1); sequence <= last; ++sequence) {
      const OperationRecord record = history->find(sequence);
      if (record.sequence == 0) continue;
      text += fmt::format("  step {}: {}\n", record.step, describe(status_of(*history, record)));
    }
  }
  return text;
}

std::string log_text(std::size_t most) {
  const auto lines = last_log_lines();
  std::string text = lines.empty() ? "" : "  last lines of the log:\n";
  for (std::size_t i = lines.size() - std::min(most, lines.size()); i < lines.size(); ++i)
    text += "    " + lines[i] + "\n";
  return text;
}

std::filesystem::path report_file() {
  return process().failure_folder / fmt::format("rank-{:05}.txt", process().rank);
}

void announce_fatal_report() {
  if (!process().failure_folder.empty())
    set_fatal_report(process().failure_folder.string(), report_file().string());
}

void write_report(const std::string& message, bool is_final) noexcept {
  try {
    const std::lock_guard lock(process_mutex);
    Process& mine = process();
    if (mine.failure_folder.empty() || mine.has_final_report) return;
    mine.has_final_report = is_final;
    const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    const std::string text = fmt::format("{}, process {}, {:%Y-%m-%dT%H:%M:%SZ}\n{}\n{}{}{}", rank_text(),
                                         ::getpid(), fmt::gmtime(now), describe(status_now()), message,
                                         log_text(last_log_lines().size()), operations_text());
    make_writable_folder(mine.failure_folder);
    write_file_atomically(report_file(), text);
  } catch (const std::exception& error) {
    say(fmt::format("cannot write the report of {}: {}\n", rank_text(), error.what()));
  }
}

/// The message of a failure that ends the job, and what is known of the ranks.
std::string job_message(const Failure& failure) {
  const std::string& program = process().program;
  std::string text = message(program.empty() ? "cohort" : program, failure);
  text += fmt::format("  rank:  {}; {}\n", rank_text(), describe(status_now()));
  if (Watchdog* const watchdog = Watchdog::instance()) text += watchdog->table();
  return text;
}

/// MPI_Abort may wait for a launcher that is gone, or for the lock of a thread that hangs.
[[noreturn]] void abort_job(int code) {
  std::thread([code] {
    std::this_thread::sleep_for(kAbortTime);
    ::_exit(code);
  }).detach();
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, code);
  ::_exit(code);
}

}  // namespace

void set_identity(int rank, int size) {
  const std::lock_guard lock(process_mutex);
  process().rank = rank;
  process().size = size;
  announce_fatal_report();
}

void set_program(const std::string& program) {
  const std::lock_guard lock(process_mutex);
  process().program = program;
}

void set_failure_folder(const std::filesystem::path& folder) {
  const std::lock_guard lock(process_mutex);
  process().failure_folder = folder;
  announce_fatal_report();
}

std::string launcher_note() {
  // srun and other launchers do not set it.
  if (std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr) return {};
  return "(what mpirun prints below this line is its own; the cause is above)\n";
}

void say(const std::string& text) {
  std::fflush(stdout);
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
}

void end_job(const Failure& failure, std::chrono::milliseconds launcher) {
  static std::atomic_flag ending = ATOMIC_FLAG_INIT;
  while (ending.test_and_set()) std::this_thread::sleep_for(1h);  // another thread ends this process
  Watchdog* const watchdog = Watchdog::instance();
  std::string text = job_message(failure);
  write_report(text, true);  // first: a launcher may kill this process at any moment
  if (watchdog != nullptr && !watchdog->may_speak()) std::this_thread::sleep_for(kSilentTime);
  if (!process().failure_folder.empty())
    text += fmt::format("  reports of the ranks: {}\n", process().failure_folder.string());
  say(fmt::format("[rank {}/{}] {}{}", process().rank, process().size, text,
                  log_text(kShownLines) + launcher_note()));
  std::this_thread::sleep_for(launcher);
  abort_job(static_cast<int>(failure.code));
}

void end_job(const Error& error) {
  set_failure_folder({});
  end_job(Failure{Failure::Kind::error, error.exit_code(), error.text()});
}

void expect_end_of_job(const Failure& failure) {
  if (process().program.empty()) return;
  std::thread([failure] {
    std::this_thread::sleep_for(kUnwindingTime);
    end_job(failure);
  }).detach();
}

void report_for_others(const std::vector<std::string>& stack) {
  std::string text = "another rank has met a failure and asks; this one goes on\n";
  if (!stack.empty()) text += "  stack of the main thread, innermost first:\n";
  for (const std::string& call : stack) text += "    " + call + "\n";
  write_report(text, false);
}

}  // namespace cohort::comm
