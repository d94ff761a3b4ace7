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

/// Side of the square grid behind the first `prefix` rows of a table; 0: there is none.
std::int64_t grid_side(const at::Tensor& table, std::int64_t prefix) {
  const std::int64_t patches = std::max<std::int64_t>(table.size(1) - prefix, 0);
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(patches))));
  return side * side == patches ? side : 0;
}

struct Adapted {
  at::Tensor values;
  std::string how;
};

/// The table [1, rows + n·n, D] of a square grid for the model's own grid and number of context tokens, or
/// nothing when the file's is not square.
std::optional<Adapted> adapt_positions(const at::Tensor& stored, const nn::VitShape& shape) {
  const auto tokens = static_cast<std::int64_t>(shape.context.keys.size()),
             prefix = shape.registers > 0 ? 0 : 1 + tokens;
  const nn::PatchGrid own{shape.height / shape.patch_size, shape.width / shape.patch_size};
  at::Tensor table = stored.to(at::kFloat);
  std::int64_t side = grid_side(table, prefix);
  std::string rows;
  if (side == 0 && prefix > 0 && grid_side(table, 1) > 0) {
    side = grid_side(table, 1);
    table = at::cat(
        {table.narrow(1, 0, 1), at::zeros({1, tokens, table.size(2)}), table.narrow(1, 1, table.size(1) - 1)},
        1);
    rows = ", zeros for the context tokens";
  }
  if (side == 0) return std::nullopt;
  return Adapted{
      nn::interpolate_positions(table, prefix, {side, side}, own, shape.positions),
      fmt::format("{} x {} patches -> {} x {}, bicubic{}", side, side, own.rows, own.columns, rows)};
}

/// [D, c, P, P] -> [D, n, P, P]
Adapted adapt_channels(const at::Tensor& stored, std::int64_t channels) {
  const at::Tensor values = stored.to(at::kFloat);
  const std::int64_t before = values.size(1);
  const std::string how = fmt::format("{} channels -> {}", before, channels);
  if (channels == 1) return {values.sum(1, true), how};
  const std::int64_t copies = (channels + before - 1) / before;
  const double scale = static_cast<double>(before) / static_cast<double>(channels);
  return {values.repeat({1, copies, 1, 1}).narrow(1, 0, channels) * scale, how};
}

/// Filters [D, c, P, Q] that differ in their numbers of channels alone. Compares sizes: the parameter may
/// have no memory.
bool same_but_channels(at::IntArrayRef stored, at::IntArrayRef parameter) {
  return stored.size() == 4 && stored[1] > 0 && stored[0] == parameter[0] &&
         stored.slice(2) == parameter.slice(2);
}

/// `stored` as the parameter `name` of `model` needs it; nothing when it cannot be.
std::optional<Adapted> adapt(const nn::VitShape& shape, const std::string& name, const at::Tensor& parameter,
                             const at::Tensor& stored) {
  if (name == "pos_embed" && stored.dim() == 3 && stored.size(2) == parameter.size(2))
    return adapt_positions(stored, shape);
  if (name == "patch_embed.proj.weight" && same_but_channels(stored.sizes(), parameter.sizes()))
    return adapt_channels(stored, parameter.size(1));
  return std::nullopt;
}

at::Tensor* find(checkpoint::Safetensors& weights, const std::string& name) {
  for (auto& [key, values] : weights.tensors) {
    if (key == name) return &values;
  }
  return nullptr;
}

/// Published DINOv2 weights with registers under timm's names: its cls token has a position of its own, which
/// timm's has taken over.
void adopt_registers(checkpoint::Safetensors& weights) {
  at::Tensor *cls = find(weights, "cls_token"), *positions = find(weights, "pos_embed");
  if (find(weights, "register_tokens") == nullptr || cls == nullptr || positions == nullptr) return;
  *cls = *cls + positions->narrow(1, 0, 1);
  *positions = positions->narrow(1, 1, positions->size(1) - 1).contiguous();
  std::erase_if(weights.tensors, [](const auto& entry) { return entry.first == "mask_token"; });
  for (auto& [name, values] : weights.tensors) {
    if (name == "register_tokens") name = "reg_token";
  }
}

/// ChannelViT without channel sampling is published with a parameter [1, D, C, 1, 1] where others have an
/// embedding [C, D].
void adopt_channels(checkpoint::Safetensors& weights) {
  for (auto& [name, values] : weights.tensors) {
    if (name != "patch_embed.channel_embed" || values.dim() != 5) continue;
    name += ".weight";
    values = values.flatten(2).squeeze(0).t().contiguous();
  }
}

class Fitter {
 public:
  Fitter(const nn::VisionTransformer& model, const checkpoint::Safetensors& weights, std::string where,
         Misfits misfits)
      : model_(&model), weights_(&weights), where_(std::move(where)), misfits_(misfits) {}

  FittedWeights fit() {
    const auto parameters = model_->named_parameters();
    skip_unknown(parameters.keys());
    for (const auto& parameter : parameters) fit_parameter(parameter.key(), parameter.value());
    return std::move(result_);
  }

 private:
  void skip_unknown(const std::vector<std::string>& known) {
    for (const auto& [name, values] : weights_->tensors) {
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      if (misfits_ == Misfits::refuse && !is_head(name)) {
        throw DataError(
            {fmt::format("the model has no parameter '{}'", name), where_, did_you_mean(name, known)});
      }
      result_.skipped.push_back(fmt::format("{}: the model has no such parameter", name));
    }
  }

  void fit_parameter(const std::string& name, const at::Tensor& parameter) {
    const at::Tensor* stored = weights_->find(name);
    if (stored == nullptr) return miss(name);
    if (stored->sizes() == parameter.sizes()) {
      result_.values[name] = *stored;
    } else if (auto adapted = adapt(model_->shape(), name, parameter, *stored)) {
      result_.values[name] = std::move(adapted->values);
      result_.adapted.push_back(fmt::format("{}: {}", name, adapted->how));
    } else {
      skip(name, parameter, *stored);
    }
  }

  void miss(const std::string& name) {
    if (misfits_ == Misfits::refuse && !is_head(name)) {
      throw DataError(
          {fmt::format("'{}' is missing", name), where_,
           "check model.* and context.* of the configuration against those the weights come from"});
    }
    result_.missing.push_back(name);
  }

  void skip(const std::string& name, const at::Tensor& parameter, const at::Tensor& stored) {
    if (misfits_ == Misfits::refuse && !is_head(name)) {
      throw DataError({fmt::format("'{}' has shape {}, the model needs {}", name, shape_text(stored),
                                   shape_text(parameter)),
                       where_,
                       "check model.*, context.* and the dataset of the configuration against those the "
                       "weights come from"});
    }
    result_.skipped.push_back(
        fmt::format("{}: {}, the model needs {}", name, shape_text(stored), shape_text(parameter)));
    result_.missing.push_back(name);
  }

  const nn::VisionTransformer* model_;
  const checkpoint::Safetensors* weights_;
  std::string where_;
  Misfits misfits_;
  FittedWeights result_;
};

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

FittedWeights fitted_weights(const nn::VisionTransformer& model, const checkpoint::Safetensors& weights,
                             const std::string& where, Misfits misfits) {
  checkpoint::Safetensors adopted = weights;
  adopt_registers(adopted);
  adopt_channels(adopted);
  return Fitter(model, adopted, where, misfits).fit();
}

bool load_weights(nn::VisionTransformer& model, const checkpoint::Safetensors& weights,
                  const std::string& where) {
  const auto fitting = fitted_weights(model, weights, where).values;
  const at::NoGradGuard no_gradients;
  auto parameters = model.named_parameters();
  for (const auto& [name, values] : fitting) parameters[name].copy_(values);
  return fitting.size() == parameters.size();
}

}  // namespace cohort::eval
