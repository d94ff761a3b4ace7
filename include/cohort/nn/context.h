#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <torch/nn/module.h>

#include "cohort/config/field.h"
#include "cohort/nn/conditions.h"

namespace cohort::nn {

/// How the token of a context comes about ("Contextual Vision Transformers", arXiv 2305.19402, section 3).
/// `_detach`: no gradient through the statistics. `_layer`: inferred anew after every block, by that block's
/// own network.
enum class Amortization {
  dictionary,
  mean,
  mean_linear,
  mean_detach,
  mean_linear_detach,
  dictionary_layer,
  mean_layer,
  mean_linear_layer,
  mean_detach_layer,
  mean_linear_detach_layer,
};
/// `linear_mean…` are accepted aliases of `mean_linear…`.
std::span<const config::EnumName<Amortization>> enum_names(Amortization);
bool is_layerwise(Amortization amortization) noexcept;
/// Whether a token belongs to a value that training has seen, instead of being inferred from images.
bool is_dictionary(Amortization amortization) noexcept;

struct ContextConfig {
  std::vector<std::string> keys;
  Amortization amortization = Amortization::mean_linear;
  Scope scope = Scope::group;

  template <class Visit>
  void fields(Visit& visit) {
    visit("keys", keys, "context keys of the dataset, one token each; empty: a plain vision transformer");
    visit("amortization", amortization, "how a context token is inferred (docs/architecture.md)");
    visit("scope", scope, "images behind a token: those of the group, or of the whole step");
  }
};

/// Throws UsageError when a key cannot be part of a parameter's name (empty, a dot) or is given twice.
void check_context_keys(const ContextConfig& config);

/// Context inference: tokens [B, K, D] of every image's contexts from patch tokens [B, N, D].
/// Parameter names: model.<key>.weight (dictionary), model.<key>.1.{weight,bias} (mean_linear), none (mean).
/// The mean of a context goes over the patches of all images of one segment: (group, value of the key) in
/// group scope, the value in global scope, where one all-reduce carries sums and counts of all keys: [values
/// of all keys, D + 1].
class ContextInference : public torch::nn::Module {
 public:
  /// `vocabulary` [K]: number of values of every key.
  /// Of `config` only keys and amortization count: the scope is that of the conditions. Throws UsageError:
  /// check_context_keys().
  ContextInference(const ContextConfig& config, std::vector<std::int64_t> vocabulary, std::int64_t width);
  /// Collective over conditions.ranks in global scope (forward and backward), unless the amortization is a
  /// dictionary. Statistics are summed in fp32 (or fp64 if the patches are), under autocast too. Images of a
  /// segment need not be neighbours. Throws DataError when a dictionary, or global scope, meets a value
  /// outside the vocabulary (a context unseen in training); the message gives key and index, not the name,
  /// which this layer does not know.
  at::Tensor forward(const at::Tensor& patches, const Conditions& conditions);

 private:
  at::Tensor look_up(const Conditions& conditions) const;
  at::Tensor mean_of_segments(const at::Tensor& patches, const Conditions& conditions) const;
  at::Tensor transform(const at::Tensor& means) const;

  ContextConfig config_;
  std::vector<std::int64_t> vocabulary_;
  std::vector<std::shared_ptr<torch::nn::Module>> networks_;  ///< one per key; none for plain means
};

}  // namespace cohort::nn
