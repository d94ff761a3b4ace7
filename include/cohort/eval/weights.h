#pragma once
#include <string>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/nn/vit.h"

namespace cohort::eval {

/// All parameters under the names of ContextViT's reference and of timm, fp32 copies on the CPU, with the
/// metadata that safetensors' readers for PyTorch expect. The model's parameters must be whole on this rank.
checkpoint::Safetensors weights_of(const nn::VisionTransformer& model);

/// Overwrites the model's parameters. Names and shapes must agree, with two exceptions: a head that is
/// missing or has another number of classes leaves the model's own as it is (and an unused one in the file is
/// ignored); a position table of another square grid is interpolated (bicubic). `where`: the file, for
/// messages. Returns false when the head was left as it was. Throws DataError: missing or unknown names,
/// other shapes.
bool load_weights(nn::VisionTransformer& model, const checkpoint::Safetensors& weights,
                  const std::string& where);

}  // namespace cohort::eval
