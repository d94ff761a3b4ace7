#include "cohort/core/error.h"

namespace cohort {
namespace {

std::string three_lines(const Error::Text& text) {
  std::string lines = text.what;
  if (!text.where.empty()) lines += "\n  where: " + text.where;
  if (!text.fix.empty()) lines += "\n  fix:   " + text.fix;
  return lines;
}

}  // namespace

Error::Error(ExitCode code, Text text)
    : std::runtime_error(three_lines(text)), code_(code), text_(std::move(text)) {}

void fail_check(const char* expression, const std::string& message, std::source_location where) {
  throw Bug(
      fmt::format("{} [check '{}' failed at {}:{}]", message, expression, where.file_name(), where.line()));
}

}  // namespace cohort
