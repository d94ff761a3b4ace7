#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/eval/scorecard.h"

namespace cohort::eval {

/// Scores of the images of one context, or of all.
struct ContextScore {
  std::string context;
  std::int64_t images = 0;
  double accuracy = 0.0;
  double low = 0.0, high = 0.0;  ///< 95 % Wilson interval of the accuracy
  double confidence = 0.0;       ///< mean probability of the predicted class
};

struct Scores {
  std::int64_t images = 0;
  double accuracy = 0.0, balanced_accuracy = 0.0;
  Interval accuracy_interval;  ///< 95 %, bootstrap over images
  /// Area under the ROC curve, ties count one half; more than two classes: the mean of each class against the
  /// rest, over the classes that occur. Nothing when one class alone occurs.
  std::optional<double> auc;
  std::optional<Interval> auc_interval;  ///< two classes only; 95 %, bootstrap over images
  double f1_macro = 0.0, f1_weighted = 0.0;
  double kappa = 0.0;       ///< Cohen's
  double loss = 0.0;        ///< mean cross-entropy
  double confidence = 0.0;  ///< mean probability of the predicted class
  double calibration_error =
      0.0;  ///< |accuracy - confidence|, mean over 15 bins of confidence (Guo et al., 2017)
  std::vector<std::int64_t> confusion;  ///< [classes, classes]: label, answer
  double majority = 0.0;  ///< accuracy of always answering the most frequent class of these images
  std::vector<ContextScore> contexts;  ///< by vocabulary index; contexts without images left out
  [[nodiscard]] const ContextScore* worst() const noexcept;  ///< lowest accuracy; null without contexts
};

/// `logits` [N, classes] f32, `labels` [N] (-1: left out), `contexts` [N] index into `context_names`; empty:
/// no contexts. Pure; the result does not depend on the number of ranks. Throws DataError when no image has a
/// label.
Scores score(const at::Tensor& logits, std::span<const std::int32_t> labels,
             std::span<const std::int32_t> contexts, std::span<const std::string> context_names);

}  // namespace cohort::eval
