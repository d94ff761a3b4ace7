#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/data/context_sampler.h"
#include "cohort/data/dataset.h"

namespace cohort::data {

/// What one rank works on in one step. B images, V views, K context keys.
struct Batch {
  std::vector<at::Tensor> views;  ///< V × [B, C, h, w] f32, normalised; large views first
  at::Tensor context;             ///< [B, K] i64, vocabulary index for every context key of the model
  at::Tensor group;               ///< [B] i64, number of the group within the global batch
  at::Tensor label;               ///< [B] i64, -1 where a row has none; undefined without a label column
  at::Tensor sample;              ///< [B] i64, dataset row: the key of every random number of an image
};

/// Turns the stored images [B, C, H, W] f32 (stored units) of `rows` into views, normalised.
using ViewMaker =
    std::function<std::vector<at::Tensor>(const at::Tensor& images, std::span<const std::int64_t> rows)>;

struct BatchColumns {
  std::vector<std::string> context_keys;  ///< columns of Batch::context
  std::string label;                      ///< empty: none
};

/// Reads the rows of `groups`, in order, as one batch. Pure; safe from any thread once the columns were read.
Batch make_batch(const Dataset& dataset, std::span<const Group> groups, const BatchColumns& columns,
                 const ViewMaker& views);

/// The images of group number `begin` to `end` of the batch, in its order, as views of it. Groups are those
/// of make_batch, all of the same size.
Batch groups_of(const Batch& batch, std::int64_t groups, std::int64_t begin, std::int64_t end);

}  // namespace cohort::data
