#include "context_tokens.h"

#include <string>

#include <ATen/ATen.h>

namespace cohort::nn {

std::vector<std::shared_ptr<ContextInference>> contexts_of_layers(torch::nn::Module& model,
                                                                  const ContextConfig& config,
                                                                  const std::vector<std::int64_t>& vocabulary,
                                                                  std::int64_t width, std::int64_t depth) {
  std::vector<std::shared_ptr<ContextInference>> all;
  if (config.keys.empty() || !is_layerwise(config.amortization)) return all;
  const auto contexts = model.register_module("cin_blocks", std::make_shared<torch::nn::Module>());
  for (std::int64_t l = 0; l < depth; ++l)
    all.push_back(contexts->register_module(std::to_string(l),
                                            std::make_shared<ContextInference>(config, vocabulary, width)));
  return all;
}

at::Tensor with_new_contexts(const at::Tensor& tokens, std::int64_t first, std::int64_t count,
                             ContextInference& inference, const Conditions& conditions) {
  const std::int64_t before = first + count;
  const at::Tensor patches = tokens.narrow(1, before, tokens.size(1) - before);
  return at::cat({tokens.narrow(1, 0, first), inference.forward(patches, conditions), patches}, 1);
}

}  // namespace cohort::nn
