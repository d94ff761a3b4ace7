#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

#include "cohort/checkpoint/store.h"
#include "cohort/core/error.h"
#include "cohort/data/signature.h"
#include "cohort/method/method.h"
#include "cohort/nn/encoders.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// What a run of this configuration learns of a dataset: no label where the method learns no classes. Throws
/// UsageError.
data::Signature signature_of(const RunConfig& config, const data::Description& description);
/// The same, with the contexts of which the training split has no image.
data::Signature signature_of(const RunConfig& config, const data::Dataset& training);

/// The model of a configuration for what `signature` says, on the CPU, with random weights or those of
/// model.weights. No classes: no head. Throws UsageError (also: context keys other than those of the
/// configuration) or DataError.
std::shared_ptr<nn::Encoder> build_model(const RunConfig& config, const data::Signature& signature);

/// The same without memory for the weights: for shard::ShardedModel.
std::shared_ptr<nn::Encoder> build_model_without_values(const RunConfig& config,
                                                        const data::Signature& signature);

/// What a model of this configuration is made for. Throws UsageError for volumes.
nn::EncoderInput encoder_input(const RunConfig& config, const data::Signature& signature);

/// Whether context tokens are rows of a table, which knows the contexts of training alone.
bool has_dictionary(const nn::ContextConfig& context);

/// The method of a configuration, its models without values; what is not trained has no gradient. Throws
/// UsageError: optimizer.frozen, lr_of or no_weight_decay.
/// `label_counts`: training images of each class, where the method asks for them (method::Traits).
std::unique_ptr<method::Method> build_method(const RunConfig& config, const data::Description& description,
                                             std::span<const std::int64_t> label_counts);

/// Why a model that was trained on `signature` cannot work on the images of a split: there are none, or
/// contexts for which its dictionary has no trained token. Nothing when it can.
std::optional<UsageError> obstacle(const RunConfig& config, const data::Dataset& dataset,
                                   const data::Signature& signature);

/// Writes the first values of each parameter of a part's model: those of model.weights in its encoder, the
/// first of `encoders` in this part, by name (eval::fitted_weights), random ones where there are none, the
/// same for all parts. The encoder's buffers come with them. Reads the file when it is first called, so that
/// errors come then. `signature`: what the part is trained on.
shard::ShardedModel::Fill first_values(const RunConfig& config, const method::Part& part,
                                       std::span<const method::NamedEncoder> encoders,
                                       const data::Signature& signature);

/// The method's encoders as checkpoints name them.
std::vector<checkpoint::Meta::Encoder> stored_encoders(method::Method& method);

/// How names of an encoder begin in a checkpoint: "/model/", "/teacher/backbone.". `name` empty: the first
/// one. Throws UsageError when the checkpoint has no such encoder.
std::string encoder_prefix(const checkpoint::Contents& contents, const std::string& name);

/// Collective. Overwrites the model's parameters, whole on every rank, and buffers with the tensors of a
/// checkpoint whose names begin with `prefix`. Throws DataError.
void load_checkpoint_weights(nn::Encoder& model, checkpoint::Store& store, std::int64_t step,
                             const std::string& prefix);

/// Collective. Values of all parts of a method that build_method() made, from checkpoint `step` of its run.
/// On the CPU. Throws DataError.
void load_method_weights(method::Method& method, std::uint64_t seed, checkpoint::Store& store,
                         std::int64_t step);

}  // namespace cohort::train
