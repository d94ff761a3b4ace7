#include "run_scores.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <vector>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/lines.h"

#include "support/json.h"

namespace cohort::jobs {
namespace {

/// Of names of classification, which are keys of their own in records of older programs.
bool is_lower_better(const std::string& name) {
  return name == "loss" || name == "calibration_error";
}

std::optional<RunScore> listed_score(const Json& scores, const std::string& name) {
  for (const Json& score : scores) {
    if (score.value("name", "") != name || !score.contains("value") || !score.at("value").is_number())
      continue;
    return RunScore{score.at("value").get<double>(), score.value("better", "") == "lower"};
  }
  return std::nullopt;
}

/// Accuracy of the worst context.
std::optional<RunScore> worst_context(const Json& evaluation) {
  double worst = std::numeric_limits<double>::infinity();
  for (const Json& context : evaluation.value("contexts", Json::array()))
    worst = std::min(worst, context.value("accuracy", worst));
  return worst <= 1.0 ? std::optional(RunScore{worst, false}) : std::nullopt;
}

std::optional<RunScore> score_of(const Json& evaluation, const std::string& name) {
  if (evaluation.contains("scores")) {
    if (const auto listed = listed_score(evaluation.at("scores"), name)) return listed;
  }
  if (name == "worst_context") return worst_context(evaluation);
  if (!evaluation.contains(name) || !evaluation.at(name).is_number()) return std::nullopt;
  return RunScore{evaluation.at(name).get<double>(), is_lower_better(name)};
}

/// "test/", of 20 neighbours "test/knn_20/": what names of its scores begin with.
std::string group_of_scores(const Json& evaluation) {
  std::string classifier = evaluation.value("classifier", "");
  classifier = classifier.substr(0, classifier.find(" of "));
  if (const auto at = classifier.find(" k="); at != std::string::npos) classifier.replace(at, 3, "_");
  return evaluation.value("split", "") + "/" + (classifier.empty() ? "" : classifier + "/");
}

/// Lines that say `kind`, in order; one that is cut off, of a process that was killed, is left out.
void for_each_line(const std::filesystem::path& file, const std::vector<std::string>& kinds,
                   const std::function<void(const Json&)>& visit) {
  if (!std::filesystem::exists(file)) return;
  LineReader lines(file, Links::refuse);
  for (std::string_view line; lines.next(line);) {
    const bool wanted = std::any_of(kinds.begin(), kinds.end(), [&](const std::string& kind) {
      return line.find("\"" + kind + "\"") != std::string_view::npos;
    });
    if (!wanted) continue;
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_object()) visit(json);
  }
}

}  // namespace

std::optional<RunScore> best_score_of_run(const std::filesystem::path& metrics, const std::string& name) {
  std::optional<RunScore> latest, best;
  std::int64_t step = 0;  // that `latest` is of
  for_each_line(metrics, {"evaluation", "best"}, [&](const Json& line) {
    if (step != line.value("step", std::int64_t{0})) latest.reset();
    step = line.value("step", std::int64_t{0});
    if (line.value("kind", "") == "best") best = latest;
    const std::string group = group_of_scores(line);
    if (line.value("kind", "") != "evaluation" || !name.starts_with(group)) return;
    if (const auto found = score_of(line, name.substr(group.size()))) latest = found;
  });
  return best;
}

std::optional<RunScore> score_of_probe(const std::filesystem::path& file, const std::string& name) {
  std::optional<RunScore> score;
  for_each_line(file, {"evaluation"}, [&](const Json& line) {
    const std::string split = line.value("split", "") + "/";
    if (name.starts_with(split) && !score) score = score_of(line, name.substr(split.size()));
  });
  return score;
}

}  // namespace cohort::jobs
