#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

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

/// Which of `bins` bins of confidence, for the calibration error: C. Guo et al., "On calibration of modern
/// neural networks", arXiv 1706.04599, section 2.
std::size_t confidence_bin(double confidence, std::size_t bins);

/// `images` > 0, of which `correct` have the right answer; `confidence`: sum.
ContextScore context_score(const std::string& name, std::int64_t images, std::int64_t correct,
                           double confidence);

[[noreturn]] void refuse_infinite_answers();
[[noreturn]] void refuse_no_labels();

}  // namespace cohort::eval
