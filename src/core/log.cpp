#include "cohort/core/log.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log_history.h"
#include "cohort/core/printable.h"
#include "cohort/core/terminal.h"

namespace cohort {
namespace {

std::atomic<int> log_rank{0};
std::atomic<int> log_size{1};

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto created =
        std::make_shared<spdlog::logger>("cohort", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    created->set_pattern("%^%v%$");
    created->flush_on(spdlog::level::info);
    return created;
  }();
  return *instance;
}

/// Lines that cannot be written are said to be missing, once: a log is no reason to end a run, whose metrics
/// and checkpoints on the same disk are.
class LogFile final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LogFile(std::filesystem::path file) : file_(std::move(file)), descriptor_(open_to_append(file_)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    try {
      write_all(descriptor_, std::as_bytes(std::span(line.data(), line.size())), file_, "write the log");
    } catch (const DataError& error) {
      if (!std::exchange(failed_, true))
        fmt::print(stderr, "warning: {}: {}; lines are missing there\n", file_.string(), error.text().what);
    }
  }
  void flush_() override {}

  std::filesystem::path file_;
  FileDescriptor descriptor_;
  bool failed_ = false;
};

struct LogHistory {
  std::mutex mutex;
  std::deque<std::string> lines;
};

LogHistory& log_history() {
  static LogHistory instance;
  return instance;
}

void remember(std::string_view message) {
  constexpr std::size_t kKept = 20;
  LogHistory& history = log_history();
  const std::lock_guard lock(history.mutex);
  while (!message.empty()) {
    const std::size_t end = std::min(message.find('\n'), message.size());
    history.lines.emplace_back(message.substr(0, end));
    message.remove_prefix(std::min(end + 1, message.size()));
    if (history.lines.size() > kKept) history.lines.pop_front();
  }
}

}  // namespace

void set_log_rank(int rank, int size) {
  log_rank = rank;
  log_size = size;
}

void start_log_file(const std::filesystem::path& file) {
  if (log_rank != 0) return;
  auto sink = std::make_shared<LogFile>(file);
  sink->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
  logger().sinks().resize(1);  // of an earlier file
  logger().sinks().push_back(std::move(sink));
}

void log_info(std::string_view message) {
  const std::string shown = printable_lines(message);
  remember(shown);
  if (log_rank == 0) logger().info(shown);
}

void log_info(const PartedLine& line) {
  const std::string full = printable_lines(line.text()), shown = line.text(terminal_columns(STDERR_FILENO));
  remember(full);
  if (log_rank != 0) return;
  const auto& sinks = logger().sinks();
  for (const auto& sink : sinks) {
    const std::string& text = sink == sinks.front() ? shown : full;
    sink->log(spdlog::details::log_msg("cohort", spdlog::level::info, text));
    sink->flush();
  }
}

void log_warning(std::string_view message) {
  const std::string shown = fmt::format("warning: {}", printable_lines(message));
  remember(shown);
  if (log_rank == 0) logger().warn(shown);
}

void log_error(std::string_view message) {
  const std::string shown = printable_lines(message);
  remember(fmt::format("error: {}", shown));
  if (log_size > 1) {
    logger().error("[rank {}/{}] {}", log_rank.load(), log_size.load(), shown);
  } else {
    logger().error(shown);
  }
}

std::vector<std::string> last_log_lines() {
  LogHistory& history = log_history();
  const std::lock_guard lock(history.mutex);
  return {history.lines.begin(), history.lines.end()};
}

}  // namespace cohort
