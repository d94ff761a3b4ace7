#include "cohort/train/model.h"

#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/eval/weights.h"
#include "cohort/method/dino.h"
#include "cohort/method/supervised.h"
#include "cohort/nn/initialise.h"

namespace cohort::train {
namespace {

const std::string kBackbone = "backbone.";  // module of the networks of self-supervised methods

}  // namespace

std::string label_column(const RunConfig& config, const data::Description& description) {
  if (config.data.label.empty() && config.method == MethodName::dino) return "";
  return scored_column(config, description);
}

std::string scored_column(const RunConfig& config, const data::Description& description) {
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

std::int64_t number_of_classes(const RunConfig& config, const data::Description& description) {
  if (config.method == MethodName::dino) return 0;
  return std::ssize(description.label(label_column(config, description)).classes);
}

std::unique_ptr<method::Method> build_method(const RunConfig& config, const data::Description& description,
                                             std::span<const std::int64_t> label_counts) {
  const auto backbone = [&] {
    return build_model_without_values(config, description, number_of_classes(config, description));
  };
  if (config.method == MethodName::supervised) {
    std::vector<double> weights;
    if (config.supervised.class_weights == method::ClassWeights::balanced)
      weights = method::balanced_weights(label_counts);
    return method::make_supervised(backbone(), config.supervised, config.context.scope, weights);
  }
  const auto network = [&] {
    const auto model = backbone();
    const auto head = method::dino_head_shape(config.dino, model->shape().embed_dim);
    auto whole = std::make_shared<nn::DinoNetwork>(model, head);
    nn::discard_values(*whole);
    return whole;
  };
  return method::make_dino(network(), network(), config.dino, config.context.scope);
}

shard::ShardedModel::Fill first_values(const RunConfig& config, const method::Part& part) {
  const nn::Initialiser random(*part.model, config.seed);
  const std::string prefix = part.model == part.backbone ? "" : kBackbone;
  std::optional<std::map<std::string, at::Tensor>> stored;
  return [random, stored, prefix, model = part.backbone, weights = config.model.weights.string()](
             const std::string& name, at::Tensor& values) mutable {
    if (!weights.empty() && !stored) stored = stored_values(weights, *model);
    const std::string inner = name.starts_with(prefix) ? name.substr(prefix.size()) : "";
    if (stored && stored->contains(inner)) {
      values.copy_(stored->at(inner));
    } else {
      random(name, values);
    }
  };
}

std::string backbone_prefix(const checkpoint::Contents& contents, const std::string& part) {
  std::set<std::string> parts;
  for (const auto& [name, tensor] : contents.tensors) parts.insert(name.substr(1, name.find('/', 1) - 1));
  for (const char* other : {"optimizer", "method"}) parts.erase(other);
  const std::string chosen = !part.empty() ? part : parts.contains("model") ? "model" : "teacher";
  if (!parts.contains(chosen)) {
    throw UsageError({fmt::format("the checkpoint has no part '{}'", chosen), "--part",
                      did_you_mean(chosen, std::vector<std::string>(parts.begin(), parts.end()))});
  }
  const std::string prefix = "/" + chosen + "/", backbone = prefix + kBackbone;
  const auto first = contents.tensors.lower_bound(backbone);
  return first != contents.tensors.end() && first->first.starts_with(backbone) ? backbone : prefix;
}

void load_checkpoint_weights(nn::VisionTransformer& model, checkpoint::Store& store, std::int64_t step,
                             const std::string& prefix) {
  const at::NoGradGuard no_gradients;
  std::vector<checkpoint::Slice> slices;
  for (const auto& parameter : model.named_parameters()) {
    const at::Tensor& value = parameter.value();
    slices.push_back({prefix + parameter.key(), value.sizes().vec(), 0, value.detach().view({-1})});
  }
  store.load(step, slices);
}

}  // namespace cohort::train
