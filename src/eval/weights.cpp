#include "cohort/eval/weights.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/nn/position.h"

namespace cohort::eval {
namespace {

bool is_head(const std::string& name) {
  return name.starts_with("head.");
}

std::string shape_text(const at::Tensor& values) {
  return fmt::format("[{}]", fmt::join(values.sizes(), ", "));
}

/// The table [1, prefix + n·n, D] of a square grid for the model's own grid, or nothing when the file's is
/// not square.
std::optional<at::Tensor> resize_positions(const at::Tensor& table, const nn::VitShape& shape) {
  const auto prefix = 1 + static_cast<std::int64_t>(shape.context.keys.size());
  const std::int64_t patches = std::max<std::int64_t>(table.size(1) - prefix, 0);
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(patches))));
  if (side == 0 || side * side != patches) return std::nullopt;
  const nn::PatchGrid own{shape.height / shape.patch_size, shape.width / shape.patch_size};
  return nn::interpolate_positions(table.to(at::kFloat), prefix, {side, side}, own);
}

/// `stored` as the parameter `name` of `model` needs it.
at::Tensor fitted(const nn::VitShape& shape, const std::string& name, const at::Tensor& parameter,
                  const at::Tensor& stored, const std::string& where) {
  if (stored.sizes() == parameter.sizes()) return stored;
  if (name == "pos_embed" && stored.dim() == 3 && stored.size(2) == parameter.size(2)) {
    const auto resized = resize_positions(stored, shape);
    if (resized) return *resized;
  }
  throw DataError(
      {fmt::format("'{}' has shape {}, the model needs {}", name, shape_text(stored), shape_text(parameter)),
       where,
       "check model.*, context.* and the dataset of the configuration against those the weights come from"});
}

void refuse_unknown(const std::vector<std::string>& known, const checkpoint::Safetensors& weights,
                    const std::string& where) {
  for (const auto& [name, values] : weights.tensors) {
    if (is_head(name) || std::find(known.begin(), known.end(), name) != known.end()) continue;
    throw DataError({fmt::format("the model has no parameter '{}'", name), where, did_you_mean(name, known)});
  }
}

}  // namespace

checkpoint::Safetensors weights_of(const nn::VisionTransformer& model) {
  checkpoint::Safetensors weights;
  weights.metadata["format"] = "pt";
  for (const auto& parameter : model.named_parameters()) {
    const at::Tensor copy = parameter.value().detach().to(at::kCPU, at::kFloat, false, true).contiguous();
    weights.tensors.emplace_back(parameter.key(), copy);
  }
  return weights;
}

std::map<std::string, at::Tensor> fitted_weights(const nn::VisionTransformer& model,
                                                 const checkpoint::Safetensors& weights,
                                                 const std::string& where) {
  const auto parameters = model.named_parameters();
  refuse_unknown(parameters.keys(), weights, where);
  std::map<std::string, at::Tensor> fitting;
  for (const auto& parameter : parameters) {
    const at::Tensor* stored = weights.find(parameter.key());
    if (is_head(parameter.key()) && (stored == nullptr || stored->sizes() != parameter.value().sizes()))
      continue;
    if (stored == nullptr) {
      throw DataError(
          {fmt::format("'{}' is missing", parameter.key()), where,
           "check model.* and context.* of the configuration against those the weights come from"});
    }
    fitting[parameter.key()] = fitted(model.shape(), parameter.key(), parameter.value(), *stored, where);
  }
  return fitting;
}

bool load_weights(nn::VisionTransformer& model, const checkpoint::Safetensors& weights,
                  const std::string& where) {
  const auto fitting = fitted_weights(model, weights, where);
  const at::NoGradGuard no_gradients;
  auto parameters = model.named_parameters();
  for (const auto& [name, values] : fitting) parameters[name].copy_(values);
  return fitting.size() == parameters.size();
}

}  // namespace cohort::eval
