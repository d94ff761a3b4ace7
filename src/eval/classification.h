#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cohort/eval/scorecard.h"
#include "cohort/eval/scores.h"
#include "cohort/eval/task.h"

#include "eval/extreme_rows.h"
#include "eval/spilled_rankings.h"

namespace cohort::eval {

/// What is counted of images with answers beside Scores.
struct ClassificationDetail {
  struct Bin {
    std::int64_t images = 0, correct = 0;
    double confidence = 0.0;  ///< mean
  };

  /// Of each class against the rest; of two classes of the second one alone. Nothing where one side is
  /// absent.
  std::vector<std::optional<Area>> areas;
  std::vector<Bin> bins;               ///< of confidence, from 0 to 1
  std::vector<ContextScore> contexts;  ///< of every value of every key, without names
  /// Of two classes, images by label and by whether the second one's probability reaches the threshold.
  std::array<std::array<std::int64_t, 2>, 2> at_threshold{};
  std::vector<ExtremeRows::Entry> errors;  ///< the most confident ones, with their confidence
};

/// Scores of all images, accuracy first, of each class and of contexts; curves, of at most 20 classes ROC and
/// precision–recall, of all "reliability" (mean confidence and accuracy of bins; Guo et al., 2017) with
/// "confidence_histogram"; and the most confident errors. `classes`: their names.
Scorecard scorecard_of(const Scores& scores, const ClassificationDetail& detail,
                       std::span<const std::string> classes, const ContextNames& contexts);

}  // namespace cohort::eval
