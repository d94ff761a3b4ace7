#include "eval/answers.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"

namespace cohort::eval {

Interval wilson(std::int64_t correct, std::int64_t count) {
  constexpr double z = 1.959963984540054;  // of 95 %
  const auto n = static_cast<double>(count);
  const double p = static_cast<double>(correct) / n;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

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

std::size_t confidence_bin(double confidence, std::size_t bins) {
  const auto count = static_cast<double>(bins);
  return static_cast<std::size_t>(std::clamp(std::ceil(confidence * count) - 1, 0.0, count - 1));
}

ContextScore context_score(const std::string& name, std::int64_t images, std::int64_t correct,
                           double confidence) {
  const auto count = static_cast<double>(images);
  const Interval interval = wilson(correct, images);
  return {name,         images,        static_cast<double>(correct) / count,
          interval.low, interval.high, confidence / count};
}

void refuse_infinite_answers() {
  throw NumericalError({"the answers to be scored are not all finite numbers", "the evaluated split",
                        "the weights are damaged, or training diverged: lower the learning rate"});
}

void refuse_no_labels() {
  throw DataError({"no image has a label, so that there is nothing to score", "the evaluated split",
                   "choose another split (eval.splits) or label column (data.label)"});
}

void refuse_unscored(bool finite, std::int64_t samples, const std::string& target,
                     comm::Communicator& ranks) {
  const bool all_finite = ranks.sum(std::int64_t{finite ? 0 : 1}) == 0;
  comm::together(ranks, [&] {
    if (!all_finite) refuse_infinite_answers();
    if (samples > 0) return;
    throw DataError(
        {fmt::format("no image has a known value of '{}', so that there is nothing to score", target),
         "the evaluated split", "choose another split (eval.splits) or field"});
  });
}

std::string name_or_number(const std::vector<std::string>& names, std::size_t i) {
  return i < names.size() ? names[i] : std::to_string(i);
}

}  // namespace cohort::eval
