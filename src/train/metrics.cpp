#include "cohort/train/metrics.h"

#include <cerrno>
#include <span>
#include <string>
#include <string_view>
#include <sys/stat.h>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/lines.h"

#include "support/json.h"

namespace cohort::train {
namespace {

Json parse_line(std::string_view line, const std::string& where) {
  Json json = Json::parse(line, nullptr, false);
  const bool is_line = json.is_object() && json.contains("kind") && json["kind"].is_string() &&
                       json.contains("step") && json["step"].is_number_integer() &&
                       (!json.contains("seconds") || json["seconds"].is_number());
  if (!is_line) throw DataError({"not a line of metrics", where, "repair or remove the file"});
  return json;
}

/// Calls use(json, line) for each line that has its end, until it returns false.
template <class Use>
void for_lines(const std::filesystem::path& file, const Use& use) {
  LineReader lines(file, Links::refuse);
  std::string_view line;
  for (std::size_t number = 1; lines.next(line) && lines.has_end(); ++number)
    if (!use(parse_line(line, fmt::format("{}:{}", file.string(), number)), line)) return;
}

bool is_of_evaluation(const Json& json) {
  const std::string kind = json["kind"];
  return kind == "evaluation" || kind == "features" || kind == "best";
}

bool is_kept(const Json& json, std::int64_t step, bool drop_evaluation) {
  const std::string kind = json["kind"];
  const std::int64_t of_line = json["step"];
  if (kind == "end" || of_line > step) return false;
  return !(drop_evaluation && is_of_evaluation(json) && of_line == step);
}

}  // namespace

std::string step_json(const StepRecord& record) {
  Json json{{"kind", "step"},
            {"step", record.step},
            {"epoch", record.epoch},
            {"loss", nine_digits(record.loss)},
            {"lr", nine_digits(record.lr)},
            {"grad_norm", nine_digits(record.grad_norm)},
            {"images_per_second", nine_digits(record.images_per_second)},
            {"seconds", nine_digits(record.seconds)},
            {"data_wait", nine_digits(record.data_wait)},
            {"comm_wait", nine_digits(record.comm_wait)},
            {"read_seconds", nine_digits(record.read_seconds)},
            {"view_seconds", nine_digits(record.view_seconds)},
            {"memory_bytes", record.memory_bytes}};
  if (record.device_memory_bytes > 0) json["device_memory_bytes"] = record.device_memory_bytes;
  for (const auto& [name, value] : record.metrics) json[name] = nine_digits(value);
  return json.dump();
}

std::string end_json(const EndRecord& record) {
  Json json{{"kind", "end"},
            {"step", record.step},
            {"seconds", nine_digits(record.seconds)},
            {"images_per_second", nine_digits(record.images_per_second)},
            {"ranks", record.ranks},
            {"parameters", record.parameters}};
  if (!record.reason.empty()) json["reason"] = record.reason;
  return json.dump();
}

std::string best_json(const BestRecord& record) {
  return Json{{"kind", "best"},
              {"step", record.step},
              {"epoch", record.epoch},
              {"by", record.by},
              {"score", nine_digits(record.score)}}
      .dump();
}

std::string pictures_json(const std::string& caption, std::int64_t step, std::int64_t epoch) {
  return Json{{"kind", "pictures"}, {"step", step}, {"epoch", epoch}, {"caption", caption}}.dump();
}

std::string features_json(const eval::FeatureStatistics& features, std::int64_t step, std::int64_t epoch) {
  return Json{{"kind", "features"},
              {"step", step},
              {"epoch", epoch},
              {"deviation", nine_digits(features.deviation)},
              {"effective_rank", nine_digits(features.effective_rank)}}
      .dump();
}

std::string features_line(const eval::FeatureStatistics& features) {
  return fmt::format("features of the training split  deviation {:.4f}  effective rank {:.1f}",
                     features.deviation, features.effective_rank);
}

MetricsFile::MetricsFile(std::filesystem::path file)
    : file_(std::move(file)), descriptor_(open_to_append(file_)) {}

void MetricsFile::write(const std::string& line) {
  const std::string whole = line + '\n';
  write_all(descriptor_, std::as_bytes(std::span(whole)), file_, "write the metrics");
}

void MetricsFile::sync() {
  refuse_other_file();
  sync_file(file_);
}

// Lines that go into a file without a name, or with another one, are lost.
void MetricsFile::refuse_other_file() const {
  struct stat mine {
  }, there{};
  const bool found = ::stat(file_.c_str(), &there) == 0;
  if (::fstat(descriptor_.get(), &mine) != 0 || (!found && errno != ENOENT)) return;  // the sync says why
  if (found && mine.st_dev == there.st_dev && mine.st_ino == there.st_ino) return;
  throw DataError({"the metrics of the run at work were removed or replaced", file_.string(),
                   "leave the folder of a run alone until it ends; run the same command again"});
}

KeptMetrics trim_metrics(const std::filesystem::path& file, std::int64_t step, bool drop_evaluation) {
  constexpr std::size_t kWrittenAtOnce = std::size_t{1} << 20;
  KeptMetrics kept;
  if (!std::filesystem::exists(file)) return kept;
  AtomicFile trimmed(file);
  std::string block;
  const auto write_block = [&] {
    trimmed.write(std::as_bytes(std::span(block)));
    block.clear();
  };
  for_lines(file, [&](const Json& json, std::string_view line) {
    if (!is_kept(json, step, drop_evaluation)) return true;
    block.append(line).push_back('\n');
    if (block.size() >= kWrittenAtOnce) write_block();
    if (json["kind"] != "step") return true;
    ++kept.steps;
    kept.seconds += json.value("seconds", 0.0);
    return true;
  });
  write_block();
  trimmed.commit();
  return kept;
}

bool has_evaluation(const std::filesystem::path& file, std::int64_t step) {
  bool found = false;
  if (!std::filesystem::exists(file)) return found;
  for_lines(file, [&](const Json& json, std::string_view /*line*/) {
    found = is_of_evaluation(json) && json["step"] == step;
    return !found;
  });
  return found;
}

std::optional<RunEnd> end_of_run(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  LinesFromEnd lines(file, Links::refuse);
  std::string_view line;
  if (!lines.next(line)) return std::nullopt;
  const Json last = parse_line(line, fmt::format("{}, the last line", file.string()));
  if (last["kind"] != "end") return std::nullopt;
  const bool has_reason = last.contains("reason") && last["reason"].is_string();
  return RunEnd{last["step"], has_reason ? last["reason"].get<std::string>() : ""};
}

}  // namespace cohort::train
