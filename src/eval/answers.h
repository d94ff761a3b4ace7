#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/eval/scores.h"

namespace cohort::eval {

/// One labelled image.
struct Answer {
  std::int32_t label, predicted, context;
  double confidence, loss, margin;  ///< margin: logit of class 1 minus class 0; two classes only
};

/// Of the images that have a label. `logits` and `log_probability` [N, classes] f64, `contexts` [N] or none.
std::vector<Answer> answers_of(const at::Tensor& logits, const at::Tensor& log_probability,
                               std::span<const std::int32_t> labels, std::span<const std::int32_t> contexts);

/// 95 % of a share of `count` > 0: E. B. Wilson, "Probable inference, the law of succession, and statistical
/// inference", 1927.
Interval wilson(std::int64_t correct, std::int64_t count);

/// Which of `bins` bins of confidence, for the calibration error: C. Guo et al., "On calibration of modern
/// neural networks", arXiv 1706.04599, section 2.
std::size_t confidence_bin(double confidence, std::size_t bins);

/// `images` > 0, of which `correct` have the right answer; `confidence`: sum.
ContextScore context_score(const std::string& name, std::int64_t images, std::int64_t correct,
                           double confidence);

[[noreturn]] void refuse_infinite_answers();
[[noreturn]] void refuse_no_labels();
/// Collective. Throws NumericalError where answers of some rank are not finite, DataError where `samples`, of
/// all ranks, are none: no image has a known value of field `target`.
void refuse_unscored(bool finite, std::int64_t samples, const std::string& target, comm::Communicator& ranks);

/// The name of class number `i`; without names its number.
std::string name_or_number(const std::vector<std::string>& names, std::size_t i);

}  // namespace cohort::eval
