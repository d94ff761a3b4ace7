#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "cohort/checkpoint/store.h"
#include "cohort/data/description.h"
#include "cohort/nn/vit.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// data.label, or the dataset's only label column. Throws UsageError: no such column, none, or several to
/// choose from.
std::string label_column(const RunConfig& config, const data::Description& description);

/// The model of a configuration for images and vocabularies of `description`, on the CPU, with random weights
/// or those of model.weights. `classes` 0: no head. Throws UsageError or DataError.
std::shared_ptr<nn::VisionTransformer> build_model(const RunConfig& config,
                                                   const data::Description& description,
                                                   std::int64_t classes);

/// The same without memory for the weights: for shard::ShardedModel.
std::shared_ptr<nn::VisionTransformer> build_model_without_values(const RunConfig& config,
                                                                  const data::Description& description,
                                                                  std::int64_t classes);

/// Writes the first values of each parameter of `model`: those of model.weights, random ones where there are
/// none. Reads the file when it is first called, so that errors come then.
shard::ShardedModel::Fill first_values(const RunConfig& config,
                                       std::shared_ptr<const nn::VisionTransformer> model);

/// Collective. Overwrites the model's parameters, whole on every rank, with those of a checkpoint. Throws
/// DataError.
void load_checkpoint_weights(nn::VisionTransformer& model, checkpoint::Store& store, std::int64_t step);

/// Where this rank computes: with CUDA, ranks take the devices of their machine in turn. Throws UsageError.
at::Device device_of(const RunConfig& config, int rank);

}  // namespace cohort::train
