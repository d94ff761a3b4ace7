#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <torch/nn/module.h>

#include "cohort/comm/communicator.h"
#include "cohort/config/field.h"

namespace cohort::nn {

/// How the token of a context comes about ("Contextual Vision Transformers", arXiv 2305.19402, section 3).
/// `_detach`: no gradient through the statistics. `_layer`: inferred anew after every block, by that block's own network.
enum class Amortization {
  dictionary, mean, mean_linear, mean_detach, mean_linear_detach,
  dictionary_layer, mean_layer, mean_linear_layer, mean_detach_layer, mean_linear_detach_layer,
};
std::span<const config::EnumName<Amortization>> enum_names(Amortization);  ///< `linear_mean…` are accepted aliases
bool is_layerwise(Amortization amortization) noexcept;

/// Over which images of a context the token's statistics go.
enum class Scope {
  group,   ///< the images of the group: no communication
  global,  ///< all images of the context in the step, on whatever rank: a differentiable all-reduce of sums and counts
};
std::span<const config::EnumName<Scope>> enum_names(Scope);

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

/// What a forward pass knows of its images beside the pixels. B images, K context keys.
struct Conditions {
  at::Tensor context;   ///< [B, K] i64, vocabulary index per key
  at::Tensor group;     ///< [B] i64, number of the group; images of one group share statistics in group scope
  at::Tensor sample;    ///< [B] i64: key of dropout and stochastic depth
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  bool training = false;                ///< dropout and stochastic depth on
  Scope scope = Scope::group;           ///< evaluation always uses group scope
  comm::Communicator* ranks = nullptr;  ///< global scope sums over these; null: this rank alone
};

/// Context inference: tokens [B, K, D] of every image's contexts from patch tokens [B, N, D].
/// Parameter names: model.<key>.weight (dictionary), model.<key>.1.{weight,bias} (mean_linear), none (mean).
class ContextInference : public torch::nn::Module {
 public:
  /// `vocabulary` [K]: number of values of every key.
  ContextInference(const ContextConfig& config, std::vector<std::int64_t> vocabulary, std::int64_t width);
  /// Collective over conditions.ranks in global scope. Statistics are summed in fp32 (or fp64 if the patches are).
  /// Throws DataError when a dictionary meets a value outside its table (a context unseen in training).
  at::Tensor forward(const at::Tensor& patches, const Conditions& conditions);

 private:
  ContextConfig config_;
  std::vector<std::int64_t> vocabulary_;
  std::vector<std::string> module_names_;
};

}  // namespace cohort::nn
