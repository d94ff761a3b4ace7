#include "run.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <yaml-cpp/yaml.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/lines.h"

#include "metrics_line.h"

namespace cohort::report {
namespace {

using nlohmann::json;

/// A run while its lines are read.
struct Reading {
  Run& run;
  std::map<std::string, ThinnedSeries> series{};
};

/// `prefix` before the names of the series.
void add_numbers(Reading& reading, const Line& line, const std::string& prefix) {
  const auto step = static_cast<double>(line.count("step"));
  for (const auto& [key, value] : line.values().items()) {
    if (!value.is_number() || key == "step" || key == "epoch") continue;
    reading.series[prefix + key].add(step, value.get<double>());
  }
}

void add_evaluation(Run& run, const Line& line) {
  Evaluation evaluation = read_evaluation(line);
  std::erase_if(run.evaluations, [&](const Evaluation& e) {
    return e.step >= evaluation.step && e.split == evaluation.split;
  });
  const auto before = std::find_if(run.evaluations.rbegin(), run.evaluations.rend(),
                                   [&](const Evaluation& e) { return e.split == evaluation.split; });
  if (before != run.evaluations.rend()) strip(*before);
  run.evaluations.push_back(std::move(evaluation));
}

RankTimes read_rank_times(const Line& line) {
  RankTimes times{line.count("step"), line.count("steps"), line.texts("hosts"), {}};
  for (const char* key :
       {"busy", "data", "copy", "forward", "backward", "optimizer", "ema", "other", "waiting"}) {
    const bool may_lack = std::string_view(key) == "copy" || std::string_view(key) == "ema";
    if (may_lack && !line.has(key)) continue;  // of earlier versions
    times.columns.emplace_back(key, line.numbers(key, times.hosts.size()));
  }
  return times;
}

void add_line(Reading& reading, const Line& line) {
  Run& run = reading.run;
  const std::string kind = line.text("kind");
  if (kind == "start") {
    run.begins.push_back({line.text("time"), line.text("version"), line.text("processor"),
                          line.text("precision"), line.text("sharding"), line.count("ranks"),
                          line.count("hosts"), line.count("threads")});
  } else if (kind == "step") {
    add_numbers(reading, line, "");
    run.end.reset();
  } else if (kind == "features") {
    add_numbers(reading, line, "features: ");
  } else if (kind == "ranks") {
    run.rank_times = read_rank_times(line);
  } else if (kind == "evaluation") {
    add_evaluation(run, line);
  } else if (kind == "trouble") {
    const BadStep bad{line.count("step"), line.text("what"), line.text("cause"), line.text("action")};
    std::erase_if(run.bad_steps, [&](const BadStep& known) { return known.step >= bad.step; });
    run.bad_steps.push_back(bad);
  } else if (kind == "end") {
    run.end = End{line.number("seconds"), line.number("images_per_second"), line.count("ranks"),
                  line.count("parameters"), line.has("reason") ? line.text("reason") : ""};
  } else if (kind == "pictures") {
    run.pictures_caption = fmt::format("{}; after step {}", line.text("caption"), line.count("step"));
  } else if (kind == "best") {
    run.best = Best{line.count("step"), line.text("by"), line.number("score")};
  }
}

void read_metrics(Run& run, const std::filesystem::path& file) {
  LineReader lines(file, Links::refuse);
  Reading reading{run};
  std::string_view text;
  for (std::int64_t number = 1; lines.next(text); ++number) {
    const json values = json::parse(text, nullptr, false);
    if (values.is_discarded() && !lines.has_end()) break;
    const std::string place = fmt::format("{}:{}", file.string(), number);
    if (values.is_discarded()) {
      throw DataError(
          {"the metrics are damaged: the line is not JSON", place, "restore the file, or remove the line"});
    }
    add_line(reading, Line(values, place));
  }
  for (const auto& [key, series] : reading.series) {
    run.series[key] = series.points();
    if (!series.is_thinned()) continue;
    run.means[key] = series.means();
    run.thinned_steps = std::max(run.thinned_steps, series.count());
  }
}

/// What cohort knn and cohort probe wrote into the folder of the run that they judged.
void read_judgements(Run& run, const std::filesystem::path& folder) {
  Run judged;
  std::error_code ignored;
  for (const char* name : {"knn.jsonl", "linear_probe.jsonl", "mlp_probe.jsonl"}) {
    if (std::filesystem::exists(folder / name, ignored)) read_metrics(judged, folder / name);
  }
  for (Evaluation& evaluation : judged.evaluations) {
    std::erase_if(run.evaluations, [&](const Evaluation& e) {
      return e.split == evaluation.split && e.step == evaluation.step;
    });
    run.evaluations.push_back(std::move(evaluation));
  }
  std::stable_sort(run.evaluations.begin(), run.evaluations.end(),
                   [](const Evaluation& a, const Evaluation& b) { return a.step < b.step; });
}

/// Of a list its single values: cohort writes no others, and lists of aliases of lists would never end.
std::string flat_text(const YAML::Node& value) {
  if (value.IsScalar()) return value.Scalar();
  if (!value.IsSequence()) return "";
  std::string text;
  for (const YAML::Node& element : value)
    text += (text.empty() ? "" : ", ") + (element.IsScalar() ? element.Scalar() : "");
  return "[" + text + "]";
}

/// `left`: entries that may still come. Aliases of sections that hold aliases of sections would never end.
void flatten(const YAML::Node& map, const std::string& prefix, int& left,
             std::map<std::string, std::string>& values) {
  for (const auto& entry : map) {
    if (--left < 0) throw YAML::Exception(entry.first.Mark(), "it holds too many keys");
    const std::string key = prefix + entry.first.as<std::string>("");
    if (entry.second.IsMap()) {
      flatten(entry.second, key + ".", left, values);
    } else {
      values[key] = flat_text(entry.second);
    }
  }
}

void read_config(Run& run, const std::filesystem::path& file) {
  run.config_text = read_file(file, kMostSettings, Links::refuse);
  try {
    int left = 10'000;
    flatten(YAML::Load(run.config_text), "", left, run.config);
  } catch (const YAML::Exception& error) {
    throw DataError({"the configuration is damaged: " + error.msg,
                     fmt::format("{}:{}", file.string(), error.mark.line + 1), "restore the file"});
  }
}

std::string name_of(const std::filesystem::path& folder) {
  std::filesystem::path absolute = std::filesystem::absolute(folder).lexically_normal();
  if (absolute.filename().empty()) absolute = absolute.parent_path();
  return absolute.filename().string();
}

}  // namespace

std::int64_t Run::steps() const noexcept {
  std::int64_t most = thinned_steps;
  for (const auto& [key, points] : series)
    if (!means.contains(key)) most = std::max(most, std::ssize(points));
  return most;
}

const Evaluation* Run::last(const Split& split) const noexcept {
  const auto found = std::find_if(evaluations.rbegin(), evaluations.rend(),
                                  [&](const Evaluation& e) { return e.split == split; });
  return found == evaluations.rend() ? nullptr : &*found;
}

std::optional<double> Run::images_per_second() const {
  if (end) return end->images_per_second;
  constexpr const char* kKey = "images_per_second";
  const auto& known = means.contains(kKey) ? means : series;
  const auto found = known.find(kKey);
  if (found == known.end() || found->second.empty()) return std::nullopt;
  std::vector<double> rates;
  for (const auto& [step, rate] : found->second) rates.push_back(rate);
  std::nth_element(rates.begin(), rates.begin() + std::ssize(rates) / 2, rates.end());
  return rates[rates.size() / 2];
}

Run read_run(const std::filesystem::path& folder) {
  const std::filesystem::path config = folder / "config.yaml", metrics = folder / "metrics.jsonl";
  std::error_code ignored;
  for (const auto& file : {config, metrics}) {
    if (std::filesystem::exists(file, ignored)) continue;
    throw DataError({fmt::format("not the folder of a run: {} is missing", file.filename().string()),
                     folder.string(), "give a folder that 'cohort train' wrote, runs/<name>"});
  }
  Run run;
  run.name = name_of(folder);
  read_config(run, config);
  read_metrics(run, metrics);
  read_judgements(run, folder);
  run.explanation = read_explanation(folder);
  run.embedding = read_embedding(folder);
  if (std::filesystem::exists(folder / "views.png", ignored)) run.views = read_png(folder / "views.png");
  // Those of a step that the run has gone back behind have lost their line.
  if (!run.pictures_caption.empty() && std::filesystem::exists(folder / "pictures.png", ignored))
    run.pictures = read_png(folder / "pictures.png");
  return run;
}

std::vector<Run> read_runs(std::span<const std::filesystem::path> folders) {
  COHORT_CHECK(!folders.empty(), "a report of no runs");
  std::vector<Run> runs;
  std::map<std::string, int> uses;
  for (const auto& folder : folders) ++uses[runs.emplace_back(read_run(folder)).name];
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (uses[runs[i].name] > 1) runs[i].name = folders[i].lexically_normal().string();
  }
  return runs;
}

std::vector<Split> splits_of(std::span<const Run> runs) {
  std::vector<Split> splits;
  for (const Run& run : runs) {
    for (const Evaluation& evaluation : run.evaluations) {
      if (std::find(splits.begin(), splits.end(), evaluation.split) == splits.end())
        splits.push_back(evaluation.split);
    }
  }
  return splits;
}

}  // namespace cohort::report
