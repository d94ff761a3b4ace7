#include "cohort/train/model.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/eval/weights.h"
#include "cohort/nn/initialise.h"

namespace cohort::train {

std::string label_column(const RunConfig& config, const data::Description& description) {
  if (!config.data.label.empty()) return description.label(config.data.label).name;
  if (description.labels.size() == 1) return description.labels.front().name;
  std::vector<std::string> names;
  for (const data::LabelColumn& column : description.labels) names.push_back(column.name);
  if (names.empty()) {
    throw UsageError(
        {"the dataset has no label column to learn", config.data.path.string(), "convert it with labels"});
  }
  throw UsageError({"data.label is empty and the dataset has several label columns",
                    config.data.path.string(),
                    fmt::format("set data.label to one of {}", join(names, ", "))});
}

namespace {

nn::VitShape shape_of(const RunConfig& config, const data::Description& description, std::int64_t classes) {
  std::vector<std::int64_t> vocabulary;
  for (const std::string& key : config.context.keys) {
    vocabulary.push_back(static_cast<std::int64_t>(description.context(key).values.size()));
  }
  const data::ImageLayout& images = description.images;
  return nn::vit_shape(config.model, config.context, std::move(vocabulary), images.channels, images.height,
                       images.width, classes);
}

std::map<std::string, at::Tensor> stored_values(const std::string& weights,
                                                const nn::VisionTransformer& model) {
  auto fitted = eval::fitted_weights(model, checkpoint::read_safetensors(weights), weights);
  for (const std::string& how : fitted.adapted) log_info(fmt::format("{}: {}", weights, how));
  auto values = std::move(fitted.values);
  const std::int64_t classes = model.shape().classes;
  if (classes > 0 && values.size() < model.named_parameters().size()) {
    log_info(
        fmt::format("{}: no head for {} classes, so that it starts from random weights", weights, classes));
  }
  return values;
}

}  // namespace

std::shared_ptr<nn::VisionTransformer> build_model(const RunConfig& config,
                                                   const data::Description& description,
                                                   std::int64_t classes) {
  auto model = std::make_shared<nn::VisionTransformer>(shape_of(config, description, classes), config.seed);
  if (config.model.weights.empty()) return model;
  const at::NoGradGuard no_gradients;
  auto parameters = model->named_parameters();
  for (const auto& [name, values] : stored_values(config.model.weights, *model))
    parameters[name].copy_(values);
  return model;
}

std::shared_ptr<nn::VisionTransformer> build_model_without_values(const RunConfig& config,
                                                                  const data::Description& description,
                                                                  std::int64_t classes) {
  return std::make_shared<nn::VisionTransformer>(shape_of(config, description, classes));
}

shard::ShardedModel::Fill first_values(const RunConfig& config,
                                       std::shared_ptr<const nn::VisionTransformer> model) {
  const nn::Initialiser random(*model, config.seed);
  std::optional<std::map<std::string, at::Tensor>> stored;
  return [random, stored, model = std::move(model), weights = config.model.weights.string()](
             const std::string& name, at::Tensor& values) mutable {
    if (!weights.empty() && !stored) stored = stored_values(weights, *model);
    if (stored && stored->contains(name)) {
      values.copy_(stored->at(name));
    } else {
      random(name, values);
    }
  };
}

void load_checkpoint_weights(nn::VisionTransformer& model, checkpoint::Store& store, std::int64_t step) {
  const at::NoGradGuard no_gradients;
  std::vector<checkpoint::Slice> slices;
  for (const auto& parameter : model.named_parameters()) {
    const at::Tensor& value = parameter.value();
    slices.push_back({"/model/" + parameter.key(), value.sizes().vec(), 0, value.detach().view({-1})});
  }
  store.load(step, slices);
}

at::Device device_of(const RunConfig& config, int rank) {
  if (config.device == Device::cpu) return at::kCPU;
  if (!at::hasCUDA() || at::getNumGPUs() == 0) {
    throw UsageError({"device is cuda, but there is no CUDA device or the program was built without CUDA",
                      "device",
                      "set device=cpu, or build with the cuda preset and run where a device is visible"});
  }
  return at::Device(at::kCUDA,
                    static_cast<c10::DeviceIndex>(static_cast<std::size_t>(rank) % at::getNumGPUs()));
}

}  // namespace cohort::train
