#include "evaluation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace cohort::report {
namespace {

std::optional<Range> range_of(double low, double high) {
  if (!std::isfinite(low) || !std::isfinite(high)) return std::nullopt;
  return Range{low, high};
}

Score read_score(const Line& line) {
  Score score{line.text("name"), line.number("value")};
  if (line.has("low") && line.has("high")) score.range = range_of(line.number("low"), line.number("high"));
  score.higher_is_better = line.text_if_there("better") != "lower";
  score.unit = line.text_if_there("unit");
  return score;
}

std::vector<Score> read_scores(const Line& line) {
  std::vector<Score> scores;
  for (const Line& entry : line.list("scores")) scores.push_back(read_score(entry));
  return scores;
}

/// A score that lines of classification have under a key of its own.
struct OwnKey {
  const char *key, *interval;
  bool higher_is_better, always;
};

constexpr std::array kOwnKeys{OwnKey{"accuracy", "accuracy_interval", true, true},
                              OwnKey{"balanced_accuracy", "", true, true},
                              OwnKey{"auc", "auc_interval", true, false},
                              OwnKey{"f1_macro", "", true, false},
                              OwnKey{"f1_weighted", "", true, false},
                              OwnKey{"kappa", "", true, false},
                              OwnKey{"loss", "", false, false},
                              OwnKey{"calibration_error", "", false, false}};

std::vector<Score> scores_of_keys(const Line& line) {
  std::vector<Score> scores;
  for (const OwnKey& own : kOwnKeys) {
    if (!own.always && !line.has(own.key)) continue;
    Score& score = scores.emplace_back(Score{own.key, line.number(own.key)});
    score.higher_is_better = own.higher_is_better;
    if (!line.has(own.interval)) continue;
    const std::vector<double> ends = line.numbers(own.interval, 2);
    score.range = range_of(ends[0], ends[1]);
  }
  return scores;
}

/// Scores of classification that describe images and answers: more of them is neither better nor worse.
bool is_description(const Score& score) {
  return score.name == "confidence" || score.name == "majority";
}

/// Whether `a` is worse by its first score.
bool group_is_worse(const Group& a, const Group& b) {
  const Score &first = a.scores.front(), &second = b.scores.front();
  return first.higher_is_better ? first.value < second.value : first.value > second.value;
}

void add_contexts(Evaluation& evaluation, std::string key, std::vector<Group> groups) {
  std::erase_if(groups, [](const Group& group) {
    return group.scores.empty() || !std::isfinite(group.scores.front().value);
  });
  std::stable_sort(groups.begin(), groups.end(), group_is_worse);
  if (!groups.empty()) evaluation.contexts.push_back({std::move(key), std::move(groups)});
}

/// Of the first key of classification.
std::vector<Group> accuracies(const Line& line) {
  std::vector<Group> groups;
  for (const Line& context : line.list("contexts")) {
    Score accuracy{"accuracy", context.number("accuracy")};
    accuracy.range = range_of(context.number("low"), context.number("high"));
    groups.push_back({context.text("context"), context.count("images"), {std::move(accuracy)}});
  }
  return groups;
}

std::vector<Group> read_groups(const std::vector<Line>& lines) {
  std::vector<Group> groups;
  for (const Line& line : lines)
    groups.push_back({line.text("name"), line.count("samples"), read_scores(line)});
  return groups;
}

/// [images by label and answer]; of a command that counts them.
void read_confusion(Evaluation& evaluation, const Line& line) {
  if (!line.has("confusion") || !line.has("classes")) return;
  evaluation.confused = line.texts("classes");
  for (const Line& row : line.list("confusion"))
    evaluation.confusion.push_back(row.elements("confusion", evaluation.confused.size()));
  if (evaluation.confusion.size() != evaluation.confused.size())
    throw line.damaged("'confusion' does not have a row for each class");
}

ScoredCurve read_curve(const Line& line) {
  ScoredCurve curve{line.text("kind"), line.text_if_there("of"), line.text("x"), line.text("y"), {}};
  for (const Line& point : line.list("points")) {
    const std::vector<double> place = point.elements("points", 2);
    curve.points.emplace_back(place[0], place[1]);
  }
  return curve;
}

}  // namespace

const Score* Evaluation::find(std::string_view name) const noexcept {
  const auto found =
      std::find_if(scores.begin(), scores.end(), [&](const Score& score) { return score.name == name; });
  return found == scores.end() ? nullptr : &*found;
}

const Group* Evaluation::worst() const noexcept {
  return contexts.empty() ? nullptr : &contexts.front().groups.front();
}

Evaluation read_evaluation(const Line& line) {
  Evaluation evaluation;
  evaluation.step = line.count("step");
  evaluation.images_of = line.text("split");
  evaluation.split = {line.has("task") ? line.text("task") : "classification", evaluation.images_of};
  if (line.has("classifier")) evaluation.split.name += ", " + line.text("classifier");
  evaluation.images = line.count("images");
  evaluation.scores = line.has("scores") ? read_scores(line) : scores_of_keys(line);
  if (evaluation.split.task == "classification") std::erase_if(evaluation.scores, is_description);
  if (line.has("majority")) evaluation.majority = line.number("majority");
  if (line.has("contexts")) add_contexts(evaluation, line.text_if_there("context_key"), accuracies(line));
  for (const Line& by : line.list_if_there("contexts_by"))
    add_contexts(evaluation, by.text("key"), read_groups(by.list("contexts")));
  evaluation.classes = read_groups(line.list_if_there("class_scores"));
  for (const Line& curve : line.list_if_there("curves")) evaluation.curves.push_back(read_curve(curve));
  for (const Line& one : line.list_if_there("cases"))
    evaluation.cases.push_back(
        {one.count("row"), one.number("score"), one.text("what"), one.text_if_there("id")});
  read_confusion(evaluation, line);
  return evaluation;
}

void strip(Evaluation& evaluation) {
  Evaluation kept;
  kept.step = evaluation.step;
  kept.split = std::move(evaluation.split);
  kept.images = evaluation.images;
  evaluation.scores.resize(std::min(evaluation.scores.size(), kFirstScores));
  kept.scores.assign(evaluation.scores.begin(), evaluation.scores.end());
  evaluation = std::move(kept);
}

}  // namespace cohort::report
