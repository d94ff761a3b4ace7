#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/eval/explanation_scores.h"
#include "cohort/eval/scorecard.h"
#include "cohort/eval/task.h"

#include "eval/exact_sum.h"

namespace cohort::eval {

/// A score that every image has.
struct ImageScore {
  std::string name;
  bool higher_is_better = true;
};

/// In the order in which explanations have them: of ADCC "adcc", "average_drop", "coherency", "complexity",
/// then "insertion", "deletion", "pointing_game", "region_iou".
std::vector<ImageScore> image_scores(const ExplanationScoreConfig& config);

/// What the explanation of one image is worth.
struct ScoredImage {
  std::vector<double> values;                 ///< of image_scores(); NaN: none
  std::vector<double> insertion, deletion{};  ///< points of curves; empty: not asked for
};

/// Means of scores and curves over images of which ranks see one after the other. Sums are exact.
class ExplanationTally {
 public:
  /// `points` of each curve.
  ExplanationTally(const ExplanationScoreConfig& config, std::size_t contexts, std::int64_t points);
  /// `contexts`: of ContextNames::values, one for each key.
  void add(const ScoredImage& image, std::span<const std::int32_t> contexts);
  /// Collective, once.
  Scorecard finish(const ContextNames& contexts, comm::Communicator& ranks);

 private:
  void add_to(std::size_t group, const std::vector<double>& values);
  [[nodiscard]] std::int64_t images_of(std::size_t group) const;
  [[nodiscard]] std::vector<Score> scores_of(std::size_t group) const;
  [[nodiscard]] Curve curve_of(const std::string& kind, std::span<const ExactSum> sums) const;

  std::vector<ImageScore> scores_;
  std::vector<ExactSum> sums_;                  // [1 + contexts, scores]: of all images, then of each context
  std::vector<ExactSum> insertion_, deletion_;  // [points]
  std::vector<std::int64_t> counts_;  // [1 + contexts, scores + 1]: of the terms of sums_, then of images
};

}  // namespace cohort::eval
