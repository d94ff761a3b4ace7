#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace torch::nn {
class Module;
}

namespace cohort::nn {

class Encoder;

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// All parameters, then all buffers of a module, as they are: detached, not copied.
NamedTensors named_values(const torch::nn::Module& module);

/// Overwrites the parameters and buffers, or buffers alone, that `values` has.
void write_values(torch::nn::Module& module, const std::map<std::string, at::Tensor>& values);
void write_buffers(torch::nn::Module& module, const std::map<std::string, at::Tensor>& values);

/// The names behind the numbers of an encoder's outputs, rows and inputs.
struct Names {
  struct Context {
    std::string key;
    std::vector<std::string> values;  ///< row i of a dictionary is that of values[i]
  };
  std::string label{};  ///< that the head answers
  std::vector<std::string> classes{}, channels{};
  std::vector<Context> contexts{};     ///< in the order of the context tokens
  std::int64_t height = 0, width = 0;  ///< of the images, which give the grid of a position table
};

/// What stored weights were made for, and what the model is for; both null: nobody says.
struct NamesOfBoth {
  const Names *from = nullptr, *to = nullptr;
  [[nodiscard]] bool are_known() const noexcept { return from != nullptr; }
};

/// A stored tensor as a parameter needs it.
struct Adapted {
  at::Tensor values;
  std::string how{};  ///< what was changed, for the log: "3 channels -> 1"; empty: nothing
};

/// A tensor of a published layout.
struct Rename {
  std::string_view
      theirs;             ///< its name; "decoder_*": all that begin so, "*.num_batches_tracked": that end so
  std::string_view ours;  ///< empty: left out
  /// What becomes of its values; `all` is the file. Null: nothing.
  at::Tensor (*change)(const at::Tensor& values, const NamedTensors& all) = nullptr;
};

/// A layout in which weights are published, besides the names of the encoder itself.
struct Dialect {
  std::string_view mark;  ///< a tensor that only this layout has, as Rename::theirs
  std::span<const Rename> table;
};

/// What a file has for the parameters and buffers of a model.
struct FittedWeights {
  std::map<std::string, at::Tensor> values{};  ///< by parameter or buffer, in its shape
  std::vector<std::string> adapted{};          ///< "pos_embed: 14 x 14 patches -> 4 x 4, bicubic"
  std::vector<std::string> missing{};          ///< parameters and buffers that the file has no values for
  std::vector<std::string>
      skipped{};  ///< tensors that are of no use: "head.weight: [1000, 192], the model …"
};

/// What to do with names and shapes that do not fit: refuse them, all but the head, or list them.
enum class Misfits { refuse, list };

/// Fits the tensors of a file to the model, of which only names and shapes count. Prefixes that all names
/// have ("model.", "module.", "backbone.", "encoder.") and layouts of Encoder::dialects() are taken off
/// first; then Encoder::adapt() makes of them what the model needs. What can be adapted is:
///  a patch embedding, or first convolution, for another number of channels: as timm's adapt_input_conv
///    (github.com/huggingface/pytorch-image-models, timm/models/_manipulate.py), for any number c of the file
///    and n of the model: n = 1: the sum over channels; else channel i is the file's channel i mod c times
///    c/n, so that gray images give the same features as before
///  a position table of another grid: interpolated (interpolate_positions); rows of context tokens go by key,
///    those of keys that the file lacks are zeros
/// Where names of both sides are known they decide: the head is taken when label and classes are the same, in
/// any order; rows of a dictionary go to their values, new values get zeros; filters and embeddings go to
/// their channels when the file knows all of them; the grid of the position table is the file's. Where they
/// are not: all of it goes by position, and a table of as many patches as the model's has the model's grid,
/// any other a square one. A head that is missing or has other classes has no value, and one that the model
/// lacks is skipped, as is what Encoder::is_optional() says.
/// `where`: the file, for messages. Throws one DataError (Misfits::refuse) that lists all tensors that are
/// missing, unknown or of another shape; a file whose tensors contradict its names.
FittedWeights fitted_weights(const Encoder& model, const NamedTensors& file, const std::string& where,
                             Misfits misfits, NamesOfBoth names);

}  // namespace cohort::nn
