#include "cohort/core/log.h"

#include <atomic>
#include <memory>

#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "cohort/core/error.h"

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

}  // namespace

void set_log_rank(int rank, int size) {
  log_rank = rank;
  log_size = size;
}

void start_log_file(const std::filesystem::path& file) {
  if (log_rank != 0) return;
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.string());
    sink->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
    logger().sinks().push_back(std::move(sink));
  } catch (const spdlog::spdlog_ex& error) {
    throw DataError({fmt::format("cannot write the log: {}", error.what()), file.string(),
                     "check the path and the permissions"});
  }
}

void log_info(std::string_view message) {
  if (log_rank == 0) logger().info(message);
}

void log_warning(std::string_view message) {
  if (log_rank == 0) logger().warn("warning: {}", message);
}

void log_error(std::string_view message) {
  if (log_size > 1) {
    logger().error("[rank {}/{}] {}", log_rank.load(), log_size.load(), message);
  } else {
    logger().error(message);
  }
}

}  // namespace cohort
