#include "cohort/eval/scores.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

#include "eval/answers.h"
#include "eval/confusion.h"
#include "eval/ranking.h"

namespace cohort::eval {
namespace {

/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927; z of 95 %.
Interval wilson(std::int64_t correct, std::int64_t count) {
  constexpr double z = 1.959963984540054;
  const auto n = static_cast<double>(count);
  const double p = static_cast<double>(correct) / n;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

/// `logits` and `log_probability` [N, classes] f64.
std::vector<Answer> answers_of(const at::Tensor& logits, const at::Tensor& log_probability,
                               std::span<const std::int32_t> labels, std::span<const std::int32_t> contexts) {
  const auto raw = logits.accessor<double, 2>(), values = log_probability.accessor<double, 2>();
  const std::int64_t classes = log_probability.size(1);
  std::vector<Answer> answers;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::int32_t label = labels[i];
    if (label < 0) continue;
    COHORT_CHECK(label < classes, "label {} of {} classes", label, classes);
    const auto logit = raw[static_cast<std::int64_t>(i)], row = values[static_cast<std::int64_t>(i)];
    const double* first = row.data();
    const auto predicted = static_cast<std::int32_t>(std::max_element(first, first + classes) - first);
    answers.push_back({label, predicted, contexts.empty() ? -1 : contexts[i], std::exp(row[predicted]),
                       -row[label], classes == 2 ? logit[1] - logit[0] : 0.0});
  }
  return answers;
}

/// C. Guo et al., "On calibration of modern neural networks", arXiv 1706.04599, section 2.
double calibration_error(std::span<const Answer> answers) {
  constexpr std::size_t kBins = 15;
  std::array<double, kBins> gap{};  // number right minus sum of confidences
  for (const Answer& answer : answers) {
    const double place = std::ceil(answer.confidence * kBins) - 1;
    const auto bin = static_cast<std::size_t>(std::clamp(place, 0.0, static_cast<double>(kBins - 1)));
    gap.at(bin) += (answer.predicted == answer.label ? 1.0 : 0.0) - answer.confidence;
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
  const at::Tensor values = logits.to(at::kCPU, at::kDouble).contiguous();  // [N, classes]
  if (!values.isfinite().all().item<bool>()) {
    throw NumericalError({"the answers to be scored are not all finite numbers", "the evaluated split",
                          "the weights are damaged, or training diverged: lower the learning rate"});
  }
  const at::Tensor log_probability = values.log_softmax(1);
  const std::vector<Answer> answers = answers_of(values, log_probability, labels, contexts);
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
  scores.calibration_error = calibration_error(answers);
  const Confusion confusion(answers, classes);
  scores.balanced_accuracy = confusion.balanced_accuracy();
  scores.majority = confusion.majority();
  scores.f1_macro = confusion.f1_macro();
  scores.f1_weighted = confusion.f1_weighted();
  scores.kappa = confusion.kappa();
  scores.confusion = confusion.counts();
  std::optional<Ranking> ranking;
  if (classes == 2) ranking = ranking_of(answers, 1, [&](std::size_t i) { return answers[i].margin; });
  scores.auc = ranking ? ranking->area() : area_over_classes(answers, log_probability, labels);
  const BootstrapIntervals intervals = bootstrap(answers, ranking ? &*ranking : nullptr);
  scores.accuracy_interval = intervals.accuracy;
  scores.auc_interval = intervals.area;
  if (!contexts.empty()) scores.contexts = scores_of_contexts(answers, context_names);
  return scores;
}

}  // namespace cohort::eval
