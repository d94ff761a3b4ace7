#include "cohort/eval/scores.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

#include "eval/answers.h"
#include "eval/confusion.h"
#include "eval/ranking.h"

namespace cohort::eval {
namespace {

double calibration_error(std::span<const Answer> answers) {
  constexpr std::size_t kBins = 15;
  std::array<double, kBins> gap{};  // number right minus sum of confidences
  for (const Answer& answer : answers) {
    gap.at(confidence_bin(answer.confidence, kBins)) +=
        (answer.predicted == answer.label ? 1.0 : 0.0) - answer.confidence;
  }
  const double sum = std::accumulate(gap.begin(), gap.end(), 0.0,
                                     [](double all, double one) { return all + std::abs(one); });
  return sum / static_cast<double>(answers.size());
}

/// `value(row of the logits, answer)` ranks the images; those of class `of` are positive.
template <class Value>
Ranking ranking_of(std::span<const Answer> answers, std::int32_t of, const Value& value) {
  std::vector<double> values;
  const auto positive = std::make_unique<bool[]>(answers.size());  // std::vector<bool> has no span
  for (std::size_t i = 0; i < answers.size(); ++i) {
    values.push_back(value(i));
    positive[i] = answers[i].label == of;
  }
  return {values, {positive.get(), answers.size()}};
}

/// Mean over the classes that occur, each against the rest.
std::optional<double> area_over_classes(std::span<const Answer> answers, const at::Tensor& log_probability,
                                        std::span<const std::int32_t> labels) {
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= 0) rows.push_back(static_cast<std::int64_t>(i));
  }
  const auto values = log_probability.accessor<double, 2>();
  double sum = 0;
  std::int64_t occurring = 0;
  for (std::int32_t c = 0; c < log_probability.size(1); ++c) {
    const auto area = ranking_of(answers, c, [&](std::size_t i) { return values[rows[i]][c]; }).area();
    if (!area) continue;
    sum += *area;
    ++occurring;
  }
  if (occurring == 0) return std::nullopt;
  return sum / static_cast<double>(occurring);
}

std::vector<ContextScore> scores_of_contexts(std::span<const Answer> answers,
                                             std::span<const std::string> names) {
  std::vector<std::int64_t> correct(names.size());
  std::vector<ContextScore> all(names.size());
  for (const Answer& answer : answers) {
    const auto context = static_cast<std::size_t>(answer.context);
    COHORT_CHECK(context < names.size(), "context {} of {}", answer.context, names.size());
    ++all[context].images;
    all[context].confidence += answer.confidence;
    if (answer.predicted == answer.label) ++correct[context];
  }
  std::vector<ContextScore> present;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].images == 0) continue;
    present.push_back(context_score(names[i], all[i].images, correct[i], all[i].confidence));
  }
  return present;
}

}  // namespace

const ContextScore* Scores::worst() const noexcept {
  const auto lowest =
      std::min_element(contexts.begin(), contexts.end(),
                       [](const ContextScore& a, const ContextScore& b) { return a.accuracy < b.accuracy; });
  return lowest == contexts.end() ? nullptr : &*lowest;
}

Scores score(const at::Tensor& logits, std::span<const std::int32_t> labels,
             std::span<const std::int32_t> contexts, std::span<const std::string> context_names) {
  COHORT_CHECK(logits.dim() == 2 && logits.size(0) == static_cast<std::int64_t>(labels.size()), "{} labels",
               labels.size());
  COHORT_CHECK(contexts.empty() || contexts.size() == labels.size(), "{} contexts, {} labels",
               contexts.size(), labels.size());
  const at::Tensor values = logits.to(at::kCPU, at::kDouble).contiguous();  // [N, classes]
  if (!values.isfinite().all().item<bool>()) refuse_infinite_answers();
  const at::Tensor log_probability = values.log_softmax(1);
  const std::vector<Answer> answers = answers_of(values, log_probability, labels, contexts);
  if (answers.empty()) refuse_no_labels();
  const std::int64_t classes = logits.size(1);
  Scores scores;
  scores.images = static_cast<std::int64_t>(answers.size());
  for (const Answer& answer : answers) {
    scores.accuracy += answer.predicted == answer.label ? 1.0 : 0.0;
    scores.loss += answer.loss;
    scores.confidence += answer.confidence;
  }
  const auto images = static_cast<double>(answers.size());
  scores.accuracy /= images;
  scores.loss /= images;
  scores.confidence /= images;
  scores.calibration_error = calibration_error(answers);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(classes * classes)), right;
  for (const Answer& answer : answers) {
    ++counts[static_cast<std::size_t>(answer.label * classes + answer.predicted)];
    right.push_back(answer.predicted == answer.label ? 1 : 0);
  }
  Confusion(std::move(counts), classes).put(scores);
  std::optional<Ranking> ranking;
  if (classes == 2) ranking = ranking_of(answers, 1, [&](std::size_t i) { return answers[i].margin; });
  scores.auc = ranking ? ranking->area() : area_over_classes(answers, log_probability, labels);
  const BootstrapIntervals intervals = bootstrap(right, ranking ? &*ranking : nullptr);
  scores.accuracy_interval = intervals.accuracy;
  scores.auc_interval = intervals.area;
  if (!contexts.empty()) scores.contexts = scores_of_contexts(answers, context_names);
  return scores;
}

}  // namespace cohort::eval
