#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cohort/augment/views.h"
#include "cohort/comm/communicator.h"
#include "cohort/config/field.h"
#include "cohort/data/dataset.h"
#include "cohort/eval/predict.h"
#include "cohort/eval/scorecard.h"
#include "cohort/eval/stored_rows.h"
#include "cohort/nn/explainer.h"

namespace cohort::eval {

/// What pixels are replaced by, or come into. 0 of normalised images is the mean.
enum class CurveBaseline { blurred, zero };
std::span<const config::EnumName<CurveBaseline>> enum_names(CurveBaseline);

/// Of which classes maps are.
enum class ExplainedClasses {
  top1,   ///< of the one that is answered
  label,  ///< of the one that the image has
  all,
};
std::span<const config::EnumName<ExplainedClasses>> enum_names(ExplainedClasses);

/// Where an image is multiplied by its map.
enum class MaskSpace {
  normalised,  ///< as the model gets it: what is masked becomes the mean
  pixel,       ///< as it is stored: what is masked becomes 0, and all is normalised then
};
std::span<const config::EnumName<MaskSpace>> enum_names(MaskSpace);

/// What explanations are scored by; src/eval/saliency.h has the formulas.
struct ExplanationScoreConfig {
  bool adcc = false, insertion = false, deletion = false;
  std::string region{};                     ///< field, mask or boxes, of the pointing game; empty: none
  std::int64_t steps = 224;                 ///< of curves; no more than pixels
  std::optional<CurveBaseline> baseline{};  ///< nothing: insertion into the blurred image, deletion to zeros
  std::int64_t chunk = 64;                  ///< changed images in one pass
  ExplainedClasses classes = ExplainedClasses::top1;
  MaskSpace mask_space = MaskSpace::normalised;  ///< of ADCC and its parts
};

/// Images that are evenly spread over the rows of a split.
struct SpreadRows {
  std::int64_t rows = 0, count = 0;  ///< count ≤ rows
  /// Of image `i`. Ascending.
  [[nodiscard]] std::int64_t row(std::int64_t i) const noexcept { return (2 * i + 1) * rows / (2 * count); }
  /// Which image a row is; nothing: none.
  [[nodiscard]] std::optional<std::int64_t> image(std::int64_t row) const noexcept;
  /// Of all images.
  [[nodiscard]] std::vector<std::int64_t> all() const;
};

/// Scores of one way to explain.
struct ExplanationScores {
  std::string method;              ///< Explainer::name()
  std::vector<std::string> names;  ///< of the columns of `images`
  Scorecard scorecard;  ///< means; curves are means over images; `classes`: those that were explained
  StoredRows images;    ///< [count, names] f32; NaN: there is none
};

/// Which images are scored, and as what.
struct ScoredExplanations {
  const data::Dataset& dataset;
  SpreadRows images;
  std::string group_by;              ///< evaluation_group_key()
  std::vector<std::string> classes;  ///< that the model answers
  /// The label of a row as a place among them; -1: none of them. Called with ExplainedClasses::label alone.
  std::function<std::int64_t(std::int64_t row)> label_of{};
};

/// Collective. Of each way to explain `model`. The scores of an image are the means over its explained
/// classes; one without such classes has none, and counts for nothing. Maps of several tokens at a place are
/// added up; context tokens are those of the evaluation groups as they are. Contexts: of
/// EvalConfig::contexts, else of the first key of `group_by`. Groups are dealt to ranks, and sums are exact:
/// the same bits on any number of ranks. Memory of a rank: a group, a chunk of changed images, and sums of
/// contexts and classes x scores. Throws UsageError (also: no such field) or DataError. Precondition:
/// check_explainable(); the model has a head.
std::vector<ExplanationScores> score_explanations(nn::Encoder& model, const nn::ExplainerConfig& how,
                                                  const ScoredExplanations& what, const EvalConfig& eval,
                                                  augment::Normalisation normalisation,
                                                  const ExplanationScoreConfig& config,
                                                  comm::Communicator& ranks);

}  // namespace cohort::eval
