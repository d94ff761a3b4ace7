#pragma once
#include <map>
#include <string>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/nn/vit.h"

namespace cohort::eval {

/// All parameters under the names of ContextViT's reference and of timm, fp32 copies on the CPU, with the
/// metadata that safetensors' readers for PyTorch expect. The model's parameters must be whole on this rank.
checkpoint::Safetensors weights_of(const nn::VisionTransformer& model);

/// The values that a file has for each parameter of the model, of which only names and shapes count. They
/// must agree, with two exceptions: a head that is missing or has another number of classes has no entry (and
/// an unused one in the file is ignored); a position table of another square grid is interpolated (bicubic).
/// `where`: the file, for messages. Throws DataError: missing or unknown names, other shapes.
std::map<std::string, at::Tensor> fitted_weights(const nn::VisionTransformer& model,
                                                 const checkpoint::Safetensors& weights,
                                                 const std::string& where);

/// Overwrites the model's parameters with the fitted weights. Returns false when the head was left as it was.
bool load_weights(nn::VisionTransformer& model, const checkpoint::Safetensors& weights,
                  const std::string& where);

}  // namespace cohort::eval
