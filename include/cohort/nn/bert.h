#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/nn/conditions.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/unit_model.h"
#include "cohort/nn/weights.h"

namespace cohort::nn {

/// Texts of a batch, one behind the other without padding: the shortest first, those of one length in the
/// order of the batch. N tokens.
struct PackedTexts {
  struct Run {
    std::int64_t length;  ///< tokens of each text of the run
    at::Tensor texts;     ///< [n] i64, on the host: their places in the batch
  };
  at::Tensor tokens;                 ///< [N] i64, numbers of a vocabulary
  at::Tensor positions;              ///< [N] i64, of a token in its text
  std::vector<Run> runs;             ///< texts of one length each
  std::vector<std::int64_t> begins;  ///< [B], where the tokens of a text begin
};

/// Of texts with one token or more each, on `device`.
PackedTexts packed(std::span<const std::vector<std::int64_t>> texts, at::Device device);

struct BertShape {
  std::int64_t vocabulary = 0, positions = 512;  ///< rows of the tables: tokens, and most of them in a text
  std::int64_t width = 768, depth = 12, heads = 12, hidden = 3072;
  double dropout = 0.1;            ///< behind the embeddings and both branches of a layer
  double attention_dropout = 0.1;  ///< of the weights of attention
};

class BertEmbeddings;
class BertLayer;

/// BERT (Devlin et al., arXiv 1810.04805) without its pooler and heads: tokens become the sum of an embedding
/// of the token, of its place and of the only kind of text there is (type 0), normalised; each layer is
/// attention and a perceptron with exact GELU, of which the sum with what came in is normalised
/// (epsilon 1e-12). Parameters have the published names: embeddings.word_embeddings.weight …,
/// encoder.layer.0.attention.self.query.weight … Units: the embeddings, then the layers. No work is done for
/// padding: linear layers see the tokens of all texts at once, attention those of one length.
class Bert final : public UnitModel, public Initialised {
 public:
  /// Values are uninitialised: initialise() or discard_values() comes next. `heads` divide `width`.
  explicit Bert(const BertShape& shape);

  /// [N, D], of `conditions` sample, seed, step, pass and training count. Collective where units are.
  at::Tensor forward(const PackedTexts& texts, const Conditions& conditions);

  [[nodiscard]] const BertShape& shape() const noexcept { return shape_; }
  /// First values come from `stored`, by name, which is asked when they are needed; else they are those of
  /// Initialiser, normal with deviation 0.02.
  void start_from(std::function<at::Tensor(const std::string& name)> stored) { stored_ = std::move(stored); }
  [[nodiscard]] std::optional<Draw> first_values_of(const std::string& name,
                                                    const torch::nn::Module& owner) const override;

 private:
  [[nodiscard]] int own_layer_of(const std::string& parameter) const override;

  BertShape shape_;
  std::shared_ptr<BertEmbeddings> embeddings_;
  std::vector<std::shared_ptr<BertLayer>> layers_;
  std::function<at::Tensor(const std::string& name)> stored_;
};

/// The parameters of `model`, of which only names and shapes count, as published files have them: names may
/// begin with "bert.", norms may have gamma and beta. Heads and the pooler are left out. Throws one DataError
/// that lists all that is missing or of another shape; `where`: the file.
std::map<std::string, at::Tensor> fitted_bert(const Bert& model, const NamedTensors& file,
                                              const std::string& where);

}  // namespace cohort::nn
