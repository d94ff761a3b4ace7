#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/eval/explanation_scores.h"
#include "cohort/eval/scorecard.h"
#include "cohort/eval/task.h"

#include "eval/exact_sum.h"
#include "eval/poisson_bootstrap.h"

namespace cohort::eval {

/// A score that every image has.
struct ImageScore {
  std::string name;
  bool higher_is_better = true;
};

/// In the order in which explanations have them: of ADCC "adcc", "average_drop", "coherency", "complexity",
/// then "insertion", "deletion", "pointing_game", "region_iou".
std::vector<ImageScore> image_scores(const ExplanationScoreConfig& config);

/// What the map of a class, or the maps of an image, are worth.
struct MapWorth {
  std::vector<double> values;               ///< of image_scores(); NaN: none
  std::vector<double> insertion, deletion;  ///< points of curves; empty: not asked for
};

/// What the explanation of one image is worth.
struct ScoredImage {
  std::vector<std::size_t> classes;  ///< that are explained; none: the image is not scored
  std::vector<MapWorth> worth;       ///< of each of them

  /// The mean over its classes, of those that have a value. Precondition: it has some.
  [[nodiscard]] MapWorth mean() const;
};

/// Means of scores and curves over images of which ranks see one after the other, with 95 % intervals: of all
/// images by the bootstrap, of contexts and classes that of a mean. Sums are exact. Memory: 64 kB for each
/// score, and 104 bytes for each score of a context or class.
class ExplanationTally {
 public:
  /// `classes`: names of those that the model answers. `points` of each curve.
  ExplanationTally(const ExplanationScoreConfig& config, ContextNames contexts,
                   std::vector<std::string> classes, std::int64_t points);
  /// `worth`: the mean of the image `row`, which has classes. `contexts`: of ContextNames::values, one for
  /// each key.
  void add(std::int64_t row, const ScoredImage& image, const MapWorth& worth,
           std::span<const std::int32_t> contexts);
  /// Collective, once.
  Scorecard finish(comm::Communicator& ranks);

 private:
  void add_to(std::size_t group, const std::vector<double>& values);
  void add_up(comm::Communicator& ranks);
  [[nodiscard]] std::int64_t images_of(std::size_t group) const;
  [[nodiscard]] double mean_of(std::size_t group, std::size_t score) const;
  [[nodiscard]] std::optional<Interval> interval_of(std::size_t group, std::size_t score) const;
  [[nodiscard]] std::vector<Score> scores_of(std::size_t group) const;
  [[nodiscard]] std::vector<Score> scores_of_all() const;
  [[nodiscard]] Curve curve_of(const std::string& kind, std::span<const ExactSum> sums) const;

  std::vector<ImageScore> scores_;
  ContextNames contexts_;
  std::vector<std::string> classes_;
  std::vector<ExactSum> sums_, squares_;        // [1 + contexts + classes, scores], of all images first
  std::vector<ExactSum> insertion_, deletion_;  // [points]
  std::vector<std::int64_t> counts_;  // [1 + contexts + classes, scores + 1]: of the terms of sums_, then of
                                      // images
  PoissonBootstrap bootstrap_;        // of each score how many images have it, and their sum
};

}  // namespace cohort::eval
