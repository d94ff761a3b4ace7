#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

#include "cohort/checkpoint/store.h"
#include "cohort/data/description.h"
#include "cohort/method/method.h"
#include "cohort/nn/vit.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// data.label, or the dataset's only label column; under dino, which needs none, data.label or nothing.
/// Throws UsageError: no such column, none, or several to choose from.
std::string label_column(const RunConfig& config, const data::Description& description);

/// The column that answers are compared with: that of label_column(), also under a method that needs none.
std::string scored_column(const RunConfig& config, const data::Description& description);

/// The model of a configuration for images and vocabularies of `description`, on the CPU, with random weights
/// or those of model.weights. `classes` 0: no head. Throws UsageError or DataError.
std::shared_ptr<nn::VisionTransformer> build_model(const RunConfig& config,
                                                   const data::Description& description,
                                                   std::int64_t classes);

/// The same without memory for the weights: for shard::ShardedModel.
std::shared_ptr<nn::VisionTransformer> build_model_without_values(const RunConfig& config,
                                                                  const data::Description& description,
                                                                  std::int64_t classes);

/// Classes that the configuration's model has a head for: those of the label column; 0 under dino.
std::int64_t number_of_classes(const RunConfig& config, const data::Description& description);

/// The method of a configuration, its models without values.
/// `label_counts`: training images of each class, for supervised.class_weights.
std::unique_ptr<method::Method> build_method(const RunConfig& config, const data::Description& description,
                                             std::span<const std::int64_t> label_counts);

/// Writes the first values of each parameter of a part's model: those of model.weights in the backbone,
/// random ones where there are none, the same for all parts. Reads the file when it is first called, so that
/// errors come then.
shard::ShardedModel::Fill first_values(const RunConfig& config, const method::Part& part);

/// How names of a part's backbone begin in checkpoints: "/model/", "/teacher/backbone.". `part` empty: model,
/// or teacher. Throws UsageError when the checkpoint has no such part.
std::string backbone_prefix(const checkpoint::Contents& contents, const std::string& part);

/// Collective. Overwrites the model's parameters, whole on every rank, with the tensors of a checkpoint whose
/// names begin with `prefix`. Throws DataError.
void load_checkpoint_weights(nn::VisionTransformer& model, checkpoint::Store& store, std::int64_t step,
                             const std::string& prefix);

/// Collective. Where this rank computes, made the current device of the calling thread: with CUDA, the ranks
/// of a node take the devices that they see in turn. Throws UsageError on every rank when `wanted` is cuda
/// and a rank sees no device, or when some ranks see one and others do not.
at::Device use_device(Device wanted, comm::Communicator& ranks);

}  // namespace cohort::train
