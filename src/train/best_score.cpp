#include "train/best_score.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/train/trainer.h"

namespace cohort::train {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kFeatures = "features/";

struct NamedScore {
  const char* name;
  double (*of)(const eval::Scores&);
  bool lower_is_better = false;
};
constexpr std::array<NamedScore, 9> kScores{{
    {"accuracy", [](const eval::Scores& scores) { return scores.accuracy; }},
    {"balanced_accuracy", [](const eval::Scores& scores) { return scores.balanced_accuracy; }},
    {"auc", [](const eval::Scores& scores) { return scores.auc.value_or(kMissing); }},
    {"f1_macro", [](const eval::Scores& scores) { return scores.f1_macro; }},
    {"f1_weighted", [](const eval::Scores& scores) { return scores.f1_weighted; }},
    {"kappa", [](const eval::Scores& scores) { return scores.kappa; }},
    {"worst_context",
     [](const eval::Scores& scores) {
       return scores.worst() == nullptr ? kMissing : scores.worst()->accuracy;
     }},
    {"loss", [](const eval::Scores& scores) { return scores.loss; }, true},
    {"calibration_error", [](const eval::Scores& scores) { return scores.calibration_error; }, true},
}};

/// "test, knn k=20 of slide" is "test/knn_20".
std::string group_of(const eval::Evaluation& evaluation) {
  std::string classifier = evaluation.classifier.substr(0, evaluation.classifier.find(" of "));
  if (const auto at = classifier.find(" k="); at != std::string::npos) classifier.replace(at, 3, "_");
  return evaluation.split + "/" + (classifier.empty() ? "" : classifier + "/");
}

constexpr const char* kWorstContext = "worst_context";

bool is_lower_better(std::string_view name, const TaskScores& by_task) {
  for (const eval::ScoreName& score : by_task.scores) {
    const bool is_first = &score == by_task.scores.data() && name.ends_with(std::string("/") + kWorstContext);
    if (is_first || name.ends_with("/" + score.name)) return !score.higher_is_better;
  }
  for (const NamedScore& score : kScores) {
    if (name.ends_with(std::string("/") + score.name)) return score.lower_is_better;
  }
  return false;
}

/// Nothing: it is not one of these.
std::optional<double> task_score(const std::string& name, const eval::Evaluation& evaluation) {
  const std::string group = evaluation.split + "/";
  if (!name.starts_with(group)) return std::nullopt;
  if (const eval::Score* score = evaluation.card.find(name.substr(group.size()))) return score->value;
  const eval::ScoredGroup* worst = evaluation.card.worst();
  const bool is_worst = name == group + kWorstContext && worst != nullptr;
  return is_worst ? std::optional(worst->scores.front().value) : std::nullopt;
}

// Of the buffer. Steps and the score's checksum are two values each, since fp32 counts to 2^24 alone.
enum Value { kSeen, kBest, kStepHigh, kStepLow, kReference, kWaited, kScoreHigh, kScoreLow, kValues };
constexpr std::int64_t kLowSteps = std::int64_t{1} << 20;
constexpr int kScoreBits = 24;
constexpr std::uint64_t kLowScore = (std::uint64_t{1} << kScoreBits) - 1;

std::uint64_t identity_of(const RunConfig& config) {
  const std::string text = config.checkpoint.best_by + '\0' + config.eval.neighbours_of;
  return checksum(std::as_bytes(std::span(text))) & (kLowScore << kScoreBits | kLowScore);
}

}  // namespace

std::vector<std::string> score_names(std::span<const std::string> by_head, const TaskScores& by_task,
                                     std::span<const std::string> by_neighbours,
                                     std::span<const std::int64_t> neighbours) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& group) {
    for (const NamedScore& score : kScores) names.push_back(group + score.name);
  };
  for (const std::string& split : by_head) add(split + "/");
  for (const std::string& split : by_task.splits) {
    for (const eval::ScoreName& score : by_task.scores) names.push_back(split + "/" + score.name);
    names.push_back(split + "/" + kWorstContext);
  }
  for (const std::string& split : by_neighbours) {
    for (const std::int64_t count : neighbours) add(fmt::format("{}/knn_{}/", split, count));
  }
  if (neighbours.empty()) return names;
  for (const char* score : {"deviation", "effective_rank"}) names.push_back(std::string(kFeatures) + score);
  return names;
}

std::optional<double> score_named(const std::string& name, const Judgement& judgement) {
  double found = kMissing;
  if (judgement.features && name.starts_with(kFeatures)) {
    found = name.ends_with("/deviation") ? judgement.features->deviation : judgement.features->effective_rank;
  }
  for (const eval::Evaluation& evaluation : judgement.evaluations) {
    if (evaluation.task != "classification") {
      found = task_score(name, evaluation).value_or(found);
      continue;
    }
    for (const NamedScore& score : kScores) {
      if (name == group_of(evaluation) + score.name) found = score.of(evaluation.scores);
    }
  }
  return std::isfinite(found) ? std::optional(found) : std::nullopt;
}

BestScore::BestScore(const RunConfig& config, std::span<const std::string> names, const TaskScores& by_task)
    : by_(config.checkpoint.best_by),
      lower_is_better_(is_lower_better(by_, by_task)),
      score_(identity_of(config)),
      stopping_(config.train.early_stopping),
      values_(at::zeros({kValues})) {
  begin();
  const bool stops = stopping_.patience > 0;
  if (by_.empty() && (stops || config.schedule.plateau.patience > 0)) {
    throw UsageError({fmt::format("{}.patience is set, but no score to go by",
                                  stops ? "train.early_stopping" : "schedule.plateau"),
                      "checkpoint.best_by",
                      names.empty() ? "this run makes no evaluation" : "set checkpoint.best_by=" + names[0]});
  }
  if (by_.empty() || std::find(names.begin(), names.end(), by_) != names.end()) return;
  throw UsageError({fmt::format("the run's evaluations have no score '{}'", by_), "checkpoint.best_by",
                    did_you_mean(by_, names)});
}

float& BestScore::at(int value) const noexcept {
  return values_.data_ptr<float>()[value];
}

void BestScore::begin() noexcept {
  std::fill_n(&at(0), static_cast<int>(kValues), 0.0F);
  at(kScoreHigh) = static_cast<float>(score_ >> kScoreBits);
  at(kScoreLow) = static_cast<float>(score_ & kLowScore);
}

void BestScore::restored() {
  const bool is_same = at(kScoreHigh) == static_cast<float>(score_ >> kScoreBits) &&
                       at(kScoreLow) == static_cast<float>(score_ & kLowScore);
  if (is_same) return;
  if (is_used()) log_info("the checkpoint knows the best of another score: the best begins anew");
  begin();
}

bool BestScore::is_better(double score, double than) const noexcept {
  return lower_is_better_ ? score < than : score > than;
}

// As the buffer has it, so that a run that goes on compares the same values.
bool BestScore::is_best(double score) const noexcept {
  if (!is_used() || !std::isfinite(score)) return false;
  return at(kSeen) == 0.0F || is_better(static_cast<float>(score), at(kBest));
}

// Better by enough that waiting begins anew.
bool BestScore::counts(double score) const noexcept {
  if (!is_used() || !std::isfinite(score)) return false;
  const double value = static_cast<float>(score), delta = stopping_.min_delta;
  return at(kSeen) == 0.0F || is_better(lower_is_better_ ? value + delta : value - delta, at(kReference));
}

bool BestScore::is_last(double score) const noexcept {
  const auto patience = static_cast<float>(stopping_.patience);
  return is_used() && patience > 0.0F && !counts(score) && at(kWaited) + 1.0F >= patience;
}

void BestScore::note(double score, std::int64_t step) {
  const auto value = static_cast<float>(score);
  const bool counts_now = counts(score), best_now = is_best(score);
  at(kWaited) = counts_now ? 0.0F : at(kWaited) + 1.0F;
  if (counts_now) at(kReference) = value;
  if (!best_now) return;
  at(kSeen) = 1.0F;
  at(kBest) = value;
  at(kStepHigh) = static_cast<float>(step / kLowSteps);
  at(kStepLow) = static_cast<float>(step % kLowSteps);
}

std::optional<std::int64_t> BestScore::best_step() const noexcept {
  if (at(kSeen) == 0.0F) return std::nullopt;
  return static_cast<std::int64_t>(at(kStepHigh)) * kLowSteps + static_cast<std::int64_t>(at(kStepLow));
}

std::string reason_to_end_early(const RunConfig& config) {
  const EarlyStoppingConfig& rule = config.train.early_stopping;
  if (rule.patience == 0) return "";
  const std::string by = rule.min_delta > 0 ? fmt::format(" by more than {:g}", rule.min_delta) : "";
  return fmt::format("{} evaluations in a row without a better {}{}", rule.patience,
                     config.checkpoint.best_by, by);
}

method::Buffer BestScore::buffer() const {
  return {"/schedule/best", values_};
}

}  // namespace cohort::train
