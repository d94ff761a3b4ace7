#include "eval/classification.h"

#include <cstddef>
#include <limits>

#include <fmt/format.h>

#include "eval/class_scores.h"
#include "eval/confusion.h"
#include "eval/ranking_curves.h"
#include "eval/tasks/scored_contexts.h"

namespace cohort::eval {
namespace {

std::vector<Score> scores_of_all(const Scores& scores) {
  return {{"accuracy", scores.accuracy, scores.accuracy_interval},
          {"balanced_accuracy", scores.balanced_accuracy},
          {"auc", scores.auc.value_or(std::numeric_limits<double>::quiet_NaN()), scores.auc_interval},
          {"f1_macro", scores.f1_macro},
          {"f1_weighted", scores.f1_weighted},
          {"kappa", scores.kappa},
          {"loss", scores.loss, {}, false},
          {"calibration_error", scores.calibration_error, {}, false},
          {"confidence", scores.confidence},
          {"majority", scores.majority}};
}

/// Of the second of two classes, at the threshold.
void add_at_threshold(const ClassificationDetail& detail, std::vector<Score>& scores) {
  const auto& [negative, positive] = detail.at_threshold;
  const FlagCounts counts{static_cast<double>(positive[1]), static_cast<double>(negative[1]),
                          static_cast<double>(positive[0]), static_cast<double>(negative[0])};
  for (Score& score : class_scores(counts, std::nullopt))
    if (score.name == "sensitivity" || score.name == "specificity") scores.push_back(std::move(score));
}

std::optional<Area> area_of_class(const ClassificationDetail& detail, std::size_t of, std::size_t classes) {
  if (classes != 2) return detail.areas[of];
  const std::optional<Area>& second = detail.areas.front();
  return second && of == 0 ? std::optional(of_others(*second)) : second;
}

void add_classes(const Scores& scores, const ClassificationDetail& detail,
                 std::span<const std::string> classes, Scorecard& card) {
  const Confusion confusion(scores.confusion, std::ssize(classes));
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const FlagCounts counts = confusion.counts_of(static_cast<std::int64_t>(i));
    card.classes.push_back({classes[i], static_cast<std::int64_t>(counts.positives()),
                            class_scores(counts, area_of_class(detail, i, classes.size()))});
  }
}

/// Of two classes the curves of the second one.
void add_curves_of_classes(const ClassificationDetail& detail, std::span<const std::string> classes,
                           std::vector<Curve>& curves) {
  for (std::size_t i = 0; i < detail.areas.size(); ++i) {
    const std::optional<Area>& area = detail.areas[i];
    if (area && !area->roc.empty())
      add_ranking_curves(*area, detail.areas.size() == 1 ? classes.back() : classes[i], curves);
  }
}

void add_reliability(const ClassificationDetail& detail, std::vector<Curve>& curves) {
  Curve reliability{"reliability", "", "confidence", "accuracy", {}},
      histogram{"confidence_histogram", "", "confidence", "images", {}};
  const auto bins = static_cast<double>(detail.bins.size());
  for (std::size_t i = 0; i < detail.bins.size(); ++i) {
    const ClassificationDetail::Bin& bin = detail.bins[i];
    const auto images = static_cast<double>(bin.images);
    histogram.points.push_back({(static_cast<double>(i) + 0.5) / bins, images});
    if (bin.images > 0)
      reliability.points.push_back({bin.confidence, static_cast<double>(bin.correct) / images});
  }
  curves.push_back(std::move(reliability));
  curves.push_back(std::move(histogram));
}

ScoredGroup group_of(const ContextScore& context) {
  return {"",
          context.images,
          {{"accuracy", context.accuracy, Interval{context.low, context.high}},
           {"confidence", context.confidence}}};
}

}  // namespace

Scorecard scorecard_of(const Scores& scores, const ClassificationDetail& detail,
                       std::span<const std::string> classes, const ContextNames& contexts) {
  Scorecard card;
  card.samples = scores.images;
  card.all = scores_of_all(scores);
  if (classes.size() == 2) add_at_threshold(detail, card.all);
  card.contexts = scored_contexts(contexts, [&](std::size_t i) { return group_of(detail.contexts[i]); });
  add_classes(scores, detail, classes, card);
  add_curves_of_classes(detail, classes, card.curves);
  add_reliability(detail, card.curves);
  for (const ExtremeRows::Entry& error : detail.errors) {
    card.cases.push_back(
        {error.row, error.score,
         fmt::format("{}, said to be {} ({:.3f})", classes[static_cast<std::size_t>(error.label)],
                     classes[static_cast<std::size_t>(error.answer)], error.score)});
  }
  return card;
}

}  // namespace cohort::eval
