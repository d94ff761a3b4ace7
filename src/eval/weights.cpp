#include "cohort/eval/weights.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/checkpoint/export.h"
#include "cohort/nn/weights.h"

namespace cohort::eval {
namespace {

nn::Names names_of(const data::Signature& signature) {
  nn::Names names{.label = signature.label,
                  .classes = signature.classes,
                  .channels = signature.channels,
                  .contexts = {},
                  .height = signature.images.height,
                  .width = signature.images.width};
  for (const data::Signature::Context& context : signature.contexts)
    names.contexts.push_back({context.name, context.values});
  return names;
}

}  // namespace

checkpoint::Safetensors weights_of(const nn::Encoder& model) {
  checkpoint::Safetensors weights;
  weights.metadata["format"] = "pt";
  for (const auto& [name, values] : nn::named_values(model)) {
    const at::Tensor copy = values.to(at::kCPU, at::kFloat, false, true).contiguous();
    weights.tensors.emplace_back(name, copy);
  }
  return weights;
}

std::optional<data::Signature> signature_in(const checkpoint::Safetensors& weights,
                                            const std::string& where) {
  const auto found = weights.metadata.find(checkpoint::kTrainedOn);
  if (found == weights.metadata.end()) return std::nullopt;
  return data::parse_signature(found->second, where);
}

nn::FittedWeights fitted_weights(const nn::Encoder& model, const checkpoint::Safetensors& weights,
                                 const std::string& where, nn::Misfits misfits,
                                 const data::Signature* trains_on) {
  const auto trained_on = signature_in(weights, where);
  if (!trained_on || trains_on == nullptr)
    return nn::fitted_weights(model, weights.tensors, where, misfits, {});
  const nn::Names from = names_of(*trained_on), to = names_of(*trains_on);
  return nn::fitted_weights(model, weights.tensors, where, misfits, {&from, &to});
}

bool load_weights(nn::Encoder& model, const checkpoint::Safetensors& weights, const std::string& where,
                  const data::Signature* trains_on) {
  const auto fitting = fitted_weights(model, weights, where, nn::Misfits::refuse, trains_on);
  nn::write_values(model, fitting.values);
  return std::none_of(fitting.missing.begin(), fitting.missing.end(),
                      [&](const std::string& name) { return name.starts_with(model.head()); });
}

}  // namespace cohort::eval
