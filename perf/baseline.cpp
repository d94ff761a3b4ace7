#include "baseline.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <sstream>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/file.h"

#include "commands.h"
#include "core/student.h"
#include "statistics.h"
#include "support/json.h"

namespace cohort::perf {
namespace {

constexpr double kTail = 0.02;  // of both sides
constexpr double kLeastNoise = 0.05;
constexpr std::size_t kLeastRuns = 5;

Json read_object(const std::filesystem::path& file) {
  const std::string text = read_file(file);
  const Json json = is_nested_deeply(text) ? Json() : Json::parse(text, nullptr, false);
  if (!json.is_object())
    throw DataError({"the baseline is not a JSON object", file.string(), "restore it from the repository"});
  return json;
}

/// Ratios of the runs, by machine and name.
using Ratios = std::map<std::string, std::map<std::string, std::vector<double>>>;

Ratios read_runs(const std::string& file) {
  Ratios ratios;
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    const Json row = Json::parse(line, nullptr, false);
    const bool is_ratio = row.is_object() && row.value("kind", "") == "row" &&
                          row.value("benchmark", "") == "gate" && row.contains("ratio") &&
                          row["ratio"].is_number();
    if (is_ratio && row["ratio"].get<double>() > 0)
      ratios[row.value("machine", "")][row.value("ratio_of", "")].push_back(row["ratio"].get<double>());
  }
  return ratios;
}

/// Half of the prediction interval downwards: what lies far above the middle says nothing of how low a run
/// may come.
BaselineEntry entry_of(const std::vector<double>& ratios) {
  const auto count = static_cast<double>(ratios.size());
  const double middle = median(ratios);
  double squares = 0, lower = 0;
  for (const double ratio : ratios) {
    if (ratio > middle) continue;
    squares += std::log(middle / ratio) * std::log(middle / ratio);
    ++lower;
  }
  const double low = student_quantile(kTail, count - 1) * std::sqrt(squares / lower * (1 + 1 / count));
  return {middle, std::max(kLeastNoise, 1 - std::exp(-low))};
}

double three_digits(double value) {
  return std::round(value * 1000) / 1000;
}

}  // namespace

std::map<std::string, BaselineEntry> read_baseline(const std::filesystem::path& file,
                                                   const std::string& machine) {
  std::map<std::string, BaselineEntry> entries;
  const Json baseline = read_object(file);
  if (!baseline.contains(machine)) return entries;
  for (const auto& [name, value] : baseline.at(machine).items()) {
    const bool is_sound = value.is_object() && value.contains("ratio") && value.contains("noise") &&
                          value["ratio"].is_number() && value["noise"].is_number();
    if (!is_sound)
      throw DataError({fmt::format("'{}' has no ratio and noise", name), file.string(),
                       "restore it from the repository"});
    entries[name] = {value["ratio"].get<double>(), value["noise"].get<double>()};
  }
  return entries;
}

ExitCode record_baseline(const std::string& runs, const std::string& file) {
  Json baseline = std::filesystem::exists(file) ? read_object(file) : Json::object();
  for (const auto& [machine, ratios] : read_runs(runs)) {
    Json entries = Json::object();
    for (const auto& [name, values] : ratios) {
      if (values.size() < kLeastRuns) {
        throw UsageError({fmt::format("{} runs are too few to tell noise", values.size()), runs,
                          fmt::format("give {} runs of cohort-perf gate --json at least", kLeastRuns)});
      }
      const BaselineEntry entry = entry_of(values);
      entries[name] = {{"ratio", three_digits(entry.ratio)},
                       {"noise", three_digits(entry.noise)},
                       {"runs", values.size()}};
      fmt::print("{}: {} {:.3f}, at least {:.3f}\n", machine, name, entry.ratio,
                 entry.ratio * (1 - entry.noise));
    }
    baseline[machine] = entries;
  }
  write_file_atomically(file, baseline.dump(1) + "\n");
  return ExitCode::done;
}

namespace {

struct BaselineFiles {
  std::string runs, baseline;
};

}  // namespace

void add_baseline(CLI::App& app, Job& job) {
  const auto files = std::make_shared<BaselineFiles>();
  CLI::App* command = &add_command(app, {"baseline",
                                         "Write a baseline from runs of gate (scripts/perf_gate.sh)",
                                         {"cohort-perf baseline runs.jsonl perf/baseline.json"},
                                         endings_alone()});
  command->add_option("RUNS", files->runs, "output of several runs of gate --json")->required();
  command->add_option("BASELINE", files->baseline, "JSON file to write")->required();
  command->callback(
      [files, &job] { job.alone = [files] { return record_baseline(files->runs, files->baseline); }; });
}

}  // namespace cohort::perf
