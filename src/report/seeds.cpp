#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/report/report.h"

#include "core/student.h"
#include "run.h"
#include "text_table.h"

namespace cohort::report {
namespace {

/// Runs of one recipe: their configurations differ in the seed and the folder alone.
struct Recipe {
  std::string name;
  std::map<std::string, std::string> config;
  std::map<std::string, const Run*> by_seed;
};

/// A mean and half of its 95 % interval; NaN with one value.
struct Mean {
  double value, half;
};

Mean mean_of(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (const double value : values) mean += value / count;
  for (const double value : values) squares += (value - mean) * (value - mean);
  if (values.size() < 2) return {mean, std::nan("")};
  return {mean, student_quantile(0.05, count - 1) * std::sqrt(squares / (count - 1) / count)};
}

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

/// What is averaged; NaN where a run has none.
struct Measure {
  const char *name, *below;  // two lines of the heading
  double (*of)(const Evaluation&);
  double scale;  // to what is printed
};

constexpr std::array kMeasures{
    Measure{"accuracy", "", [](const Evaluation& e) { return e.accuracy; }, 100},
    Measure{"balanced", "accuracy", [](const Evaluation& e) { return e.balanced_accuracy; }, 100},
    Measure{"AUC", "", [](const Evaluation& e) { return e.auc.value_or(std::nan("")); }, 1},
    Measure{"worst", "context",
            [](const Evaluation& e) { return e.worst() == nullptr ? std::nan("") : e.worst()->accuracy; },
            100}};

std::string text_of(const Mean& mean, const Measure& measure, bool with_sign) {
  if (std::isnan(mean.value)) return "–";
  const int digits = measure.scale == 1 ? 3 : 1;
  const double value = mean.value * measure.scale;
  const std::string text =
      with_sign ? fmt::format("{:+.{}f}", value, digits) : fmt::format("{:.{}f}", value, digits);
  return std::isnan(mean.half) ? text : fmt::format("{} ± {:.{}f}", text, mean.half * measure.scale, digits);
}

/// Of the runs that were scored on the split.
std::vector<std::string> recipe_line(const Recipe& recipe, const std::string& split) {
  std::vector<const Evaluation*> evaluations;
  for (const auto& [seed, run] : recipe.by_seed) {
    if (const Evaluation* evaluation = run->last(split)) evaluations.push_back(evaluation);
  }
  if (evaluations.empty()) return {};
  std::vector<std::string> cells{split, recipe.name, fmt::format("{}", evaluations.size())};
  for (const Measure& measure : kMeasures) {
    std::vector<double> values;
    for (const Evaluation* evaluation : evaluations) values.push_back(measure.of(*evaluation));
    cells.push_back(text_of(mean_of(values), measure, false));
  }
  return cells;
}

/// Differences of runs with the same seed, which share initial values and batches.
std::vector<std::string> difference_line(const Recipe& first, const Recipe& other, const std::string& split) {
  std::vector<std::string> cells{split, fmt::format("{} - {}", other.name, first.name), ""};
  for (const Measure& measure : kMeasures) {
    std::vector<double> values;
    for (const auto& [seed, run] : other.by_seed) {
      const auto partner = first.by_seed.find(seed);
      if (partner == first.by_seed.end()) continue;
      const Evaluation *a = partner->second->last(split), *b = run->last(split);
      if (a != nullptr && b != nullptr) values.push_back(measure.of(*b) - measure.of(*a));
    }
    if (values.empty()) return {};
    cells[2] = fmt::format("{}", values.size());
    cells.push_back(text_of(mean_of(values), measure, true));
  }
  return cells;
}

}  // namespace

std::string seed_table(std::span<const std::filesystem::path> folders, std::optional<std::size_t> columns) {
  const std::vector<Run> runs = read_runs(folders);
  const std::vector<Recipe> recipes = recipes_of(runs);
  std::vector<std::vector<std::string>> lines{{"split", "recipe", "runs"}, {"", "", ""}};
  for (const Measure& measure : kMeasures) {
    lines[0].emplace_back(measure.name);
    lines[1].emplace_back(measure.below);
  }
  std::vector<std::size_t> sections;
  for (const std::string& split : splits_of(runs)) {
    sections.push_back(lines.size());
    const auto add = [&](std::vector<std::string> line) {
      if (!line.empty()) lines.push_back(std::move(line));
    };
    for (const Recipe& recipe : recipes) add(recipe_line(recipe, split));
    for (std::size_t i = 1; i < recipes.size(); ++i) add(difference_line(recipes[0], recipes[i], split));
  }
  return text_table(lines, sections, columns) +
         "accuracies in percent; mean ± half of the 95 % interval (Student's t) over seeds; differences "
         "between runs of "
         "the same seed\n";
}

}  // namespace cohort::report
