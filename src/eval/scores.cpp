#include "cohort/eval/scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::eval {
namespace {

/// One labelled image.
struct Answer {
  std::int32_t label, predicted, context;
  double confidence, loss, margin;  ///< margin: logit of class 1 minus class 0
};

struct Interval {
  double low, high;
};

/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927; z of 95 %.
Interval wilson(std::int64_t correct, std::int64_t count) {
  constexpr double z = 1.959963984540054;
  const auto n = static_cast<double>(count);
  const double p = static_cast<double>(correct) / n;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

std::vector<Answer> answers_of(const at::Tensor& logits, std::span<const std::int32_t> labels,
                               std::span<const std::int32_t> contexts) {
  const at::Tensor values = logits.to(at::kCPU, at::kDouble).contiguous();  // [N, classes]
  const at::Tensor log_probabilities = values.log_softmax(1);
  const auto raw = values.accessor<double, 2>();
  const auto log_probability = log_probabilities.accessor<double, 2>();
  const std::int64_t classes = values.size(1);
  std::vector<Answer> answers;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::int32_t label = labels[i];
    if (label < 0) continue;
    COHORT_CHECK(label < classes, "label {} of {} classes", label, classes);
    const auto row = log_probability[static_cast<std::int64_t>(i)];
    const double* first = row.data();
    const auto predicted = static_cast<std::int32_t>(std::max_element(first, first + classes) - first);
    const auto logit = raw[static_cast<std::int64_t>(i)];
    answers.push_back({label, predicted, contexts.empty() ? -1 : contexts[i], std::exp(row[predicted]),
                       -row[label], classes == 2 ? logit[1] - logit[0] : 0.0});
  }
  return answers;
}

/// Recall averaged over the classes that occur.
double balanced_accuracy(std::span<const Answer> answers, std::int64_t classes) {
  std::vector<std::int64_t> count(static_cast<std::size_t>(classes)), correct(count.size());
  for (const Answer& answer : answers) {
    const auto label = static_cast<std::size_t>(answer.label);
    ++count[label];
    if (answer.predicted == answer.label) ++correct[label];
  }
  double recalls = 0;
  std::int64_t present = 0;
  for (std::size_t label = 0; label < count.size(); ++label) {
    if (count[label] == 0) continue;
    recalls += static_cast<double>(correct[label]) / static_cast<double>(count[label]);
    ++present;
  }
  return recalls / static_cast<double>(present);
}

double majority(std::span<const Answer> answers, std::int64_t classes) {
  std::vector<std::int64_t> count(static_cast<std::size_t>(classes));
  for (const Answer& answer : answers) ++count[static_cast<std::size_t>(answer.label)];
  return static_cast<double>(*std::max_element(count.begin(), count.end())) /
         static_cast<double>(answers.size());
}

/// Mann–Whitney U over the number of pairs, from mid-ranks. Nothing when one class is absent.
std::optional<double> area_under_curve(std::span<const Answer> answers) {
  std::vector<std::pair<double, bool>> ordered;
  for (const Answer& answer : answers) ordered.emplace_back(answer.margin, answer.label == 1);
  std::sort(ordered.begin(), ordered.end());
  double rank_sum = 0, positives = 0;
  for (std::size_t begin = 0; begin < ordered.size();) {
    std::size_t end = begin;
    double tied_positives = 0;
    for (; end < ordered.size() && ordered[end].first == ordered[begin].first; ++end)
      tied_positives += ordered[end].second;
    rank_sum += tied_positives * 0.5 * static_cast<double>(begin + 1 + end);
    positives += tied_positives;
    begin = end;
  }
  const double negatives = static_cast<double>(ordered.size()) - positives;
  if (positives == 0 || negatives == 0) return std::nullopt;
  return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives);
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
    const auto images = static_cast<double>(all[i].images);
    const Interval interval = wilson(correct[i], all[i].images);
    present.push_back({names[i], all[i].images, static_cast<double>(correct[i]) / images, interval.low,
                       interval.high, all[i].confidence / images});
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
  const std::vector<Answer> answers = answers_of(logits, labels, contexts);
  if (answers.empty()) {
    throw DataError({"no image has a label, so that there is nothing to score", "the evaluated split",
                     "choose another split (eval.splits) or label column (data.label)"});
  }
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
  scores.balanced_accuracy = balanced_accuracy(answers, classes);
  if (classes == 2) scores.auc = area_under_curve(answers);
  scores.majority = majority(answers, classes);
  if (!contexts.empty()) scores.contexts = scores_of_contexts(answers, context_names);
  return scores;
}

}  // namespace cohort::eval
