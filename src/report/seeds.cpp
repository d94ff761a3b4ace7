#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/printable.h"
#include "cohort/core/runs_interval.h"
#include "cohort/report/report.h"

#include "run.h"
#include "scores.h"
#include "text_table.h"

namespace cohort::report {
namespace {

/// Runs of one recipe: their configurations differ in the seed and the folder alone.
struct Recipe {
  std::string name;
  std::map<std::string, std::string> config;
  std::map<std::string, const Run*> by_seed;
};

/// "finetuned" for the run "finetuned-3" of seed 3.
std::string name_without_seed(const std::string& name, const std::string& seed) {
  if (seed.empty() || !name.ends_with(seed)) return name;
  const std::size_t last = name.find_last_not_of("-_. ", name.size() - seed.size() - 1);
  return last == std::string::npos ? name : name.substr(0, last + 1);
}

/// What the runs of a recipe have alike. Weights in the run's own folder, which cohort finetune puts there,
/// stand under the name of the recipe, so that the same fine-tuning of several seeds is one.
std::map<std::string, std::string> without_seed(const Run& run) {
  std::map<std::string, std::string> config = run.config;
  const std::string seed = config["seed"], folder = config["run_dir"];
  std::string& weights = config["model.weights"];
  if (!folder.empty() && weights.starts_with(folder + "/"))
    weights = name_without_seed(run.name, seed) + weights.substr(folder.size());
  for (const char* key : {"seed", "run_dir"}) config.erase(key);
  return config;
}

/// What the names of a recipe's runs have in common, without the separator at its end.
std::string common_name(const Recipe& recipe) {
  std::string common = recipe.by_seed.begin()->second->name;
  for (const auto& [seed, run] : recipe.by_seed) {
    const auto end = std::mismatch(common.begin(), common.end(), run->name.begin(), run->name.end()).first;
    common.erase(end, common.end());
  }
  const bool alone = recipe.by_seed.size() < 2;
  const std::size_t last = common.find_last_not_of("-_. ");
  return alone || last == std::string::npos ? recipe.by_seed.begin()->second->name
                                            : common.substr(0, last + 1);
}

std::vector<Recipe> recipes_of(std::span<const Run> runs) {
  std::vector<Recipe> recipes;
  for (const Run& run : runs) {
    const auto config = without_seed(run);
    const auto seed = run.config.find("seed");
    const std::string text = seed == run.config.end() ? "" : seed->second;
    auto found =
        std::find_if(recipes.begin(), recipes.end(), [&](const Recipe& r) { return r.config == config; });
    if (found == recipes.end()) found = recipes.insert(recipes.end(), {"", config, {}});
    if (!found->by_seed.emplace(text, &run).second) {
      throw UsageError({fmt::format("two runs have the same configuration and seed {}", text), run.name,
                        "leave one of them out"});
    }
  }
  for (Recipe& recipe : recipes) recipe.name = common_name(recipe);
  return recipes;
}

/// What is averaged: a score, or the first one of the worst context.
struct Measure {
  Score score;
  bool of_worst = false;

  [[nodiscard]] std::string title() const {
    return of_worst ? "worst context" + arrow(score) : shown_title(score);
  }
  /// NaN where there is none.
  [[nodiscard]] double of(const Evaluation& evaluation) const {
    const Group* worst = evaluation.worst();
    if (of_worst) return worst == nullptr ? std::nan("") : worst->scores.front().value;
    const Score* found = evaluation.find(score.name);
    return found == nullptr ? std::nan("") : found->value;
  }
};

/// In the order of the table of single runs.
std::vector<Measure> measures_of(std::span<const Run> runs, const std::string& task) {
  std::vector<const Evaluation*> evaluations;
  for (const auto& [run, evaluation] : last_evaluations(runs, task)) evaluations.push_back(evaluation);
  std::vector<Measure> measures;
  for (const Score& score : scores_of(evaluations)) measures.push_back({score});
  const bool has_worst = std::any_of(evaluations.begin(), evaluations.end(),
                                     [](const Evaluation* e) { return e->worst() != nullptr; });
  const auto at = static_cast<std::ptrdiff_t>(std::min(measures.size(), kFirstScores));
  if (has_worst && at > 0) measures.insert(measures.begin() + at, Measure{measures.front().score, true});
  return measures;
}

/// NaN, of which the mean is none, where a run has none.
std::string text_of(const std::vector<double>& values, const Measure& measure, bool with_sign) {
  const RunsInterval interval = runs_interval(values);
  if (std::isnan(interval.mean)) return "–";
  const bool is_percent = is_percentage(measure.score);
  const int digits = is_percent ? 1 : 3;
  const double scale = is_percent ? 100 : 1, value = interval.mean * scale;
  const std::string text =
      with_sign ? fmt::format("{:+.{}f}", value, digits) : fmt::format("{:.{}f}", value, digits);
  const double half = interval.student_half_width;
  return std::isnan(half) ? text : fmt::format("{} ± {:.{}f}", text, half * scale, digits);
}

/// Of the runs that were scored on the split.
std::vector<std::string> recipe_line(const Recipe& recipe, const Split& split,
                                     std::span<const Measure> measures) {
  std::vector<const Evaluation*> evaluations;
  for (const auto& [seed, run] : recipe.by_seed) {
    if (const Evaluation* evaluation = run->last(split)) evaluations.push_back(evaluation);
  }
  if (evaluations.empty()) return {};
  std::vector<std::string> cells{split.name, recipe.name, fmt::format("{}", evaluations.size())};
  for (const Measure& measure : measures) {
    std::vector<double> values;
    for (const Evaluation* evaluation : evaluations) values.push_back(measure.of(*evaluation));
    cells.push_back(text_of(values, measure, false));
  }
  return cells;
}

/// Differences of runs with the same seed, which share initial values and batches.
std::vector<std::string> difference_line(const Recipe& first, const Recipe& other, const Split& split,
                                         std::span<const Measure> measures) {
  std::vector<std::string> cells{split.name, fmt::format("{} - {}", other.name, first.name), ""};
  for (const Measure& measure : measures) {
    std::vector<double> values;
    for (const auto& [seed, run] : other.by_seed) {
      const auto partner = first.by_seed.find(seed);
      if (partner == first.by_seed.end()) continue;
      const Evaluation *a = partner->second->last(split), *b = run->last(split);
      if (a != nullptr && b != nullptr) values.push_back(measure.of(*b) - measure.of(*a));
    }
    if (values.empty()) return {};
    cells[2] = fmt::format("{}", values.size());
    cells.push_back(text_of(values, measure, true));
  }
  return cells;
}

std::string table_of_task(std::span<const Run> runs, const std::vector<Recipe>& recipes,
                          const std::string& task, std::optional<std::size_t> columns) {
  const std::vector<Measure> measures = measures_of(runs, task);
  std::vector<std::vector<std::string>> lines{{"split", "recipe", "runs"}, {"", "", ""}};
  for (const Measure& measure : measures) {
    const Heading heading = heading_of(measure.title());
    lines[0].push_back(heading[0]);
    lines[1].push_back(heading[1]);
  }
  std::vector<std::size_t> sections;
  for (const Split& split : splits_of(runs, task)) {
    sections.push_back(lines.size());
    const auto add = [&](std::vector<std::string> line) {
      if (!line.empty()) lines.push_back(std::move(line));
    };
    for (const Recipe& recipe : recipes) add(recipe_line(recipe, split, measures));
    for (std::size_t i = 1; i < recipes.size(); ++i)
      add(difference_line(recipes[0], recipes[i], split, measures));
  }
  return text_table(lines, sections, columns);
}

}  // namespace

std::string seed_table(std::span<const std::filesystem::path> folders, std::optional<std::size_t> columns) {
  const std::vector<Run> runs = read_runs(folders);
  const std::vector<Recipe> recipes = recipes_of(runs);
  const std::vector<std::string> tasks = tasks_of(runs);
  if (tasks.empty()) return "no run has scores\n";
  std::string text;
  for (const std::string& task : tasks) {
    if (tasks.size() > 1) text += printable_name(task) + "\n";
    text += table_of_task(runs, recipes, task, columns);
  }
  return text +
         "accuracies in percent; mean ± half of the 95 % interval (Student's t) over seeds; differences "
         "between runs of the same seed\n";
}

}  // namespace cohort::report
