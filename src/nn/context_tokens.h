#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "cohort/nn/context.h"

namespace cohort::nn {

/// Networks that infer contexts anew, one for each of `depth` blocks, registered in `model` as
/// cin_blocks.<l>; none where the amortization is not layerwise or there are no keys.
std::vector<std::shared_ptr<ContextInference>> contexts_of_layers(torch::nn::Module& model,
                                                                  const ContextConfig& config,
                                                                  const std::vector<std::int64_t>& vocabulary,
                                                                  std::int64_t width, std::int64_t depth);

/// Tokens [B, first + count + N, D] with their `count` tokens of contexts, behind `first` others, inferred
/// anew from the last N. Collective as ContextInference::forward().
at::Tensor with_new_contexts(const at::Tensor& tokens, std::int64_t first, std::int64_t count,
                             ContextInference& inference, const Conditions& conditions);

}  // namespace cohort::nn
