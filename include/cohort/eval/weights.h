#pragma once
#include <optional>
#include <string>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/data/signature.h"
#include "cohort/nn/encoder.h"

namespace cohort::eval {

/// All parameters and buffers under their published names, fp32 copies on the CPU, with the metadata that
/// safetensors' readers for PyTorch expect. The model's parameters must be whole on this rank.
checkpoint::Safetensors weights_of(const nn::Encoder& model);

/// What a file of weights says of the data that its model was trained on; nothing for those of others and of
/// older programs. Throws DataError.
std::optional<data::Signature> signature_in(const checkpoint::Safetensors& weights, const std::string& where);

/// nn::fitted_weights() with the names of what the file says it was trained on (signature_in) and of
/// `trains_on`, what the model is for; without the one or the other by position.
nn::FittedWeights fitted_weights(const nn::Encoder& model, const checkpoint::Safetensors& weights,
                                 const std::string& where, nn::Misfits misfits = nn::Misfits::refuse,
                                 const data::Signature* trains_on = nullptr);

/// Overwrites the model's parameters and buffers with the fitted weights. Returns false when the head was
/// left as it was.
bool load_weights(nn::Encoder& model, const checkpoint::Safetensors& weights, const std::string& where,
                  const data::Signature* trains_on = nullptr);

}  // namespace cohort::eval
