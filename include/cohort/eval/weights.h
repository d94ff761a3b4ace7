#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/data/signature.h"
#include "cohort/nn/vit.h"

namespace cohort::eval {

/// All parameters under the names of ContextViT's reference and of timm, fp32 copies on the CPU, with the
/// metadata that safetensors' readers for PyTorch expect. The model's parameters must be whole on this rank.
checkpoint::Safetensors weights_of(const nn::VisionTransformer& model);

/// What a file has for the parameters of a model.
struct FittedWeights {
  std::map<std::string, at::Tensor> values;  ///< by parameter, in its shape
  std::vector<std::string> adapted;          ///< "pos_embed: 14 x 14 patches -> 4 x 4, bicubic"
  std::vector<std::string> missing;          ///< parameters that the file has no values for
  std::vector<std::string> skipped;  ///< tensors that the model has no use for: "head.weight: [1000, 192], …"
};

/// What to do with names and shapes that do not fit: refuse them, all but the head, or list them.
enum class Misfits { refuse, list };

/// What a file of weights says of the data that its model was trained on; nothing for those of others and of
/// older programs. Throws DataError.
std::optional<data::Signature> signature_in(const checkpoint::Safetensors& weights, const std::string& where);

/// Fits `weights` to the model, of which only names and shapes count. What can be adapted is:
///  a position table of another grid: interpolated (nn::interpolate_positions); rows of context tokens go by
///    key, those of keys that the file lacks are zeros
///  published names and layouts of DINOv2 with registers and of ChannelViT: to timm's, and to
///    patch_embed.channel_embed.weight
///  a patch embedding for another number of channels: as timm's adapt_input_conv
///    (github.com/huggingface/pytorch-image-models, timm/models/_manipulate.py), for any number c of the file
///    and n of the model: n = 1: the sum over channels; else channel i is the file's channel i mod c times
///    c/n, so that gray images give the same tokens as before
/// Where the file says what it was trained on (signature_in) and `trains_on` what the model is for, names
/// decide: the head is taken when label and classes are the same, in any order; rows of a dictionary go to
/// their values, new values get zeros; filters and embeddings go to their channels when the file knows all of
/// them; the grid of the position table is the file's. Where the file does not say: all of it goes by
/// position, and a table of as many patches as the model's has the model's grid, any other a square one.
/// A head that is missing or has other classes has no value, and one that the model lacks is skipped.
/// `where`: the file, for messages. Throws DataError (Misfits::refuse): missing or unknown names, other
/// shapes; a file whose tensors contradict what it says.
FittedWeights fitted_weights(const nn::VisionTransformer& model, const checkpoint::Safetensors& weights,
                             const std::string& where, Misfits misfits = Misfits::refuse,
                             const data::Signature* trains_on = nullptr);

/// Overwrites the model's parameters with the fitted weights. Returns false when the head was left as it was.
bool load_weights(nn::VisionTransformer& model, const checkpoint::Safetensors& weights,
                  const std::string& where, const data::Signature* trains_on = nullptr);

}  // namespace cohort::eval
