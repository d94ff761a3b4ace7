#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cohort/augment/views.h"
#include "cohort/comm/communicator.h"
#include "cohort/data/dataset.h"
#include "cohort/eval/predict.h"
#include "cohort/eval/stored_rows.h"
#include "cohort/nn/explainer.h"

namespace cohort::eval {

/// Maps of all images of a split, such as the tiles of slides, on one scale for all of them.
struct StoredMaps {
  std::int64_t maps = 0, rows = 0, columns = 0;
  StoredRows values;  ///< [images, maps x rows x columns] f32

  /// Collective. Of `count` images, [count, maps, rows, columns].
  [[nodiscard]] at::Tensor block(std::int64_t first, std::int64_t count) const;
};

/// A class whose map is asked for.
struct MappedClass {
  std::int64_t number;  ///< among those that the model answers
  std::string name;
};

/// What store_maps() makes of an image: "attention", where the model has that, then "saliency_NAME" of each
/// of `classes`.
std::vector<std::string> stored_map_names(const nn::Encoder& model, const std::vector<MappedClass>& classes);

/// Collective. Attention is the rollout, where 1 is an even share of what is attended to; saliency is what
/// ReciprocamConfig::score says, not scaled. Maps of several tokens at a place are added up. Each image has
/// the context token of its evaluation group; groups are dealt to ranks: the same bits on any number of them.
/// Memory of a rank: a group. Throws UsageError, DataError or NumericalError. Precondition:
/// nn::check_explainable(); there are images and maps.
StoredMaps store_maps(nn::Encoder& model, const data::Dataset& dataset,
                      const std::vector<MappedClass>& classes, const std::string& group_by,
                      const EvalConfig& config, augment::Normalisation normalisation,
                      comm::Communicator& ranks, const nn::ExplainerConfig& how);

}  // namespace cohort::eval
