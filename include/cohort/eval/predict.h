#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/augment/views.h"
#include "cohort/comm/communicator.h"
#include "cohort/config/field.h"
#include "cohort/data/dataset.h"
#include "cohort/nn/encoder.h"

namespace cohort::eval {

struct EvalConfig {
  std::int64_t context_images = 32;
  std::vector<std::string> splits;
  std::int64_t every_epochs = 0;
  std::vector<std::int64_t> neighbours;
  std::string neighbours_of;

  template <class Visit>
  void fields(Visit& visit) {
    visit("context_images", context_images,
          "images of a context behind its token; the last group of a context may have fewer",
          config::Range<std::int64_t>{1, 1 << 20});
    visit("splits", splits, "splits to evaluate; empty: all but the training split");
    visit("every_epochs", every_epochs, "epochs between evaluations; 0: at the end only",
          config::Range<std::int64_t>{0, 1 << 20});
    visit("neighbours", neighbours,
          "classify also by this many nearest images of the training split, as cohort knn does, and describe "
          "its features; empty: by the model's head alone",
          config::Range<std::int64_t>{1, 1 << 20});
    visit(
        "neighbours_of", neighbours_of,
        "label or context that neighbours are asked for: 'slide' tells how much features know of the slide; "
        "empty: the label, and without labels nothing");
  }
};

/// What of a model are its features.
struct FeatureChoice {
  std::int64_t layer = -1;  ///< those that enter this layer, counted from 0; -1: those behind the last
  bool patches = false;     ///< tokens of patches as well
};

struct Prediction {
  at::Tensor logits;    ///< [N, classes] f32, dataset order; undefined without a head
  at::Tensor features;  ///< [N, D] f32, dataset order: pooled
  at::Tensor patches;   ///< [N, P, D] f32, dataset order; undefined unless asked for
  at::Tensor context;   ///< [N, K, D] f32: context token behind every image; undefined without keys
  double images_per_second = 0.0;  ///< over all ranks
};

/// Whether this rank was asked to stop.
using AskedToStop = std::function<bool()>;

/// Collective. Every image of the split exactly once, its context token inferred from groups of
/// `context_images` in dataset order (contexts of `group_by`; empty: of any images, for plain models): the
/// result does not depend on the number of ranks (to the bit where ranks have as many threads). Whole groups
/// are divided over the ranks. No gradients, fp32
/// output, all of it on every rank. `asked_to_stop`: asked before each pass of the model; once
/// it is true on one rank, every rank throws an Error with ExitCode::stopped. Precondition: choice.layer is
/// less than traits().layers, and patches only
/// of an encoder with tokens.
Prediction predict(nn::Encoder& model, const data::Dataset& dataset, const std::string& group_by,
                   const EvalConfig& config, augment::Normalisation normalisation, bool bf16,
                   comm::Communicator& ranks, const FeatureChoice& choice = {},
                   const AskedToStop& asked_to_stop = {});

}  // namespace cohort::eval
