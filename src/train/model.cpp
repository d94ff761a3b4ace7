#include "cohort/train/model.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/eval/weights.h"
#include "cohort/method/registry.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/weights.h"
#include "cohort/train/columns.h"

#include "train/parameter_rules.h"

namespace cohort::train {
namespace {

/// With the field that answers of a method with a task are compared with, and what its values are called.
data::Signature with_target(const RunConfig& config, const data::Description& description,
                            data::Signature signature) {
  if (config.method.traits().task.empty()) return signature;
  signature.label = learnt_fields(config, description).front();
  signature.classes = data::value_names(description.field(signature.label));
  return signature;
}

}  // namespace

data::Signature signature_of(const RunConfig& config, const data::Description& description) {
  return with_target(
      config, description,
      data::signature_of(description, learnt_column(config, description), config.context.keys));
}

data::Signature signature_of(const RunConfig& config, const data::Dataset& training) {
  return with_target(
      config, training.description(),
      data::signature_of(training, learnt_column(config, training.description()), config.context.keys));
}

bool has_dictionary(const nn::ContextConfig& context) {
  return !context.keys.empty() && nn::is_dictionary(context.amortization);
}

std::optional<UsageError> obstacle(const RunConfig& config, const data::Dataset& dataset,
                                   const data::Signature& signature) {
  const std::string where = config.data.path.string();
  if (dataset.rows() == 0)
    return UsageError(
        {fmt::format("split '{}' has no images", dataset.split()), where, "choose another split"});
  if (has_dictionary(config.context)) {
    const std::string unseen = data::context_without_token(dataset, signature);
    if (!unseen.empty()) {
      return UsageError(
          {fmt::format(
               "split '{}' has images of {}, of which training sees none: a dictionary has no token for it",
               dataset.split(), unseen),
           where, "choose context.amortization=mean_linear, or take the split out (eval.splits, --split)"});
    }
  }
  return std::nullopt;
}

namespace {

/// A run's configuration with overrides may ask for other keys than its model has.
void check_keys(const RunConfig& config, const data::Signature& signature) {
  std::vector<std::string> keys;
  for (const data::Signature::Context& context : signature.contexts) keys.push_back(context.name);
  if (keys == config.context.keys) return;
  throw UsageError({fmt::format("context.keys is [{}], the model was trained with [{}]",
                                join(config.context.keys, ", "), join(keys, ", ")),
                    "context.keys", "leave the keys of the model as they are"});
}

}  // namespace

nn::EncoderInput encoder_input(const RunConfig& config, const data::Signature& signature) {
  data::check_images_alone(signature.images, config.data.path.string(),
                           fmt::format("encoder {}", config.model.name));
  nn::EncoderInput input{.channels = signature.images.channels,
                         .height = signature.images.height,
                         .width = signature.images.width,
                         .classes = std::ssize(signature.classes),
                         .context = config.context};
  for (const data::Signature::Context& context : signature.contexts)
    input.vocabulary.push_back(std::ssize(context.values));
  return input;
}

namespace {

/// What starts from something else than the file says, a line each.
void tell(const std::string& weights, const checkpoint::Safetensors& file, const nn::FittedWeights& fitted,
          const nn::Encoder& model, const data::Signature& signature) {
  const std::string head(model.head());
  for (const std::string& how : fitted.adapted) log_info(fmt::format("{}: {}", weights, how));
  const auto before = eval::signature_in(file, weights);
  if (before && !before->mean.empty() && before->mean != signature.mean) {
    log_info(
        fmt::format("{}: was trained with other means and deviations than those of this dataset, which "
                    "data.normalisation uses here",
                    weights));
  }
  if (!before && (signature.classes.size() + signature.contexts.size() > 0 || signature.channels.size() > 1))
    log_warning(
        fmt::format("{} does not say what it was trained on: classes, context values and channels go by "
                    "position",
                    weights));
  if (model.traits().classes == 0 || fitted.values.contains(head + "weight")) return;
  const auto why = std::find_if(fitted.skipped.begin(), fitted.skipped.end(),
                                [&](const std::string& line) { return line.starts_with(head + "weight"); });
  log_info(fmt::format("{}: no head for {} classes, so that it starts from random weights{}", weights,
                       signature.classes.size(), why == fitted.skipped.end() ? "" : " (" + *why + ")"));
}

std::map<std::string, at::Tensor> stored_values(const std::string& weights, const nn::Encoder& model,
                                                const data::Signature& signature) {
  const checkpoint::Safetensors file = checkpoint::read_safetensors(weights);
  auto fitted = eval::fitted_weights(model, file, weights, nn::Misfits::refuse, &signature);
  tell(weights, file, fitted, model, signature);
  return std::move(fitted.values);
}

}  // namespace

std::shared_ptr<nn::Encoder> build_model(const RunConfig& config, const data::Signature& signature) {
  auto model = build_model_without_values(config, signature);
  nn::initialise(*model, config.seed);
  if (!config.model.weights.empty())
    nn::write_values(*model, stored_values(config.model.weights, *model, signature));
  return model;
}

std::shared_ptr<nn::Encoder> build_model_without_values(const RunConfig& config,
                                                        const data::Signature& signature) {
  check_keys(config, signature);
  return nn::make_encoder(config.model, encoder_input(config, signature));
}

namespace {

std::unique_ptr<method::Method> make_method(const RunConfig& config, const data::Description& description,
                                            std::span<const std::int64_t> label_counts) {
  const data::Signature signature = signature_of(config, description);
  const auto encoder = [&](std::string_view role, std::int64_t classes) {
    COHORT_CHECK(role == "image", "a configuration has no encoder of '{}'", role);
    nn::EncoderInput input = encoder_input(config, signature);
    input.classes = classes;
    return nn::make_encoder(config.model, std::move(input));
  };
  auto method = config.method.entry().make(
      config.method.options(),
      {.description = description,
       .classes = std::ssize(signature.classes),
       .label_counts = label_counts,
       .encoder = encoder,
       .scope = config.context.scope,
       .stored_tensors = [](const auto& file) { return checkpoint::read_safetensors(file).tensors; }});
  for (const method::Part& part : method->parts()) nn::discard_values(*part.model);
  return method;
}

}  // namespace

std::unique_ptr<method::Method> build_method(const RunConfig& config, const data::Description& description,
                                             std::span<const std::int64_t> label_counts) {
  auto method = make_method(config, description, label_counts);
  freeze(*method, config.optimizer);
  return method;
}

namespace {

/// The first of `encoders` that is in this part; null: none.
std::shared_ptr<nn::Encoder> encoder_of(const method::Part& part,
                                        std::span<const method::NamedEncoder> encoders) {
  const auto found = std::find_if(encoders.begin(), encoders.end(),
                                  [&](const method::NamedEncoder& each) { return each.part == part.name; });
  return found == encoders.end() ? nullptr : found->encoder;
}

/// The encoder of a checkpoint of an older program, which does not say where it is.
std::string guessed_prefix(const checkpoint::Contents& contents, const std::string& part) {
  std::set<std::string> parts;
  for (const auto& [name, tensor] : contents.tensors) parts.insert(name.substr(1, name.find('/', 1) - 1));
  for (const char* other : {"optimizer", "method"}) parts.erase(other);
  const std::string chosen = !part.empty() ? part : parts.contains("model") ? "model" : "teacher";
  if (!parts.contains(chosen)) {
    throw UsageError({fmt::format("the checkpoint has no part '{}'", chosen), "--part",
                      did_you_mean(chosen, std::vector<std::string>(parts.begin(), parts.end()))});
  }
  const std::string prefix = "/" + chosen + "/", backbone = prefix + "backbone.";
  const auto first = contents.tensors.lower_bound(backbone);
  return first != contents.tensors.end() && first->first.starts_with(backbone) ? backbone : prefix;
}

}  // namespace

shard::ShardedModel::Fill first_values(const RunConfig& config, const method::Part& part,
                                       std::span<const method::NamedEncoder> encoders,
                                       const data::Signature& signature) {
  const nn::Initialiser random(*part.model, config.seed);
  const auto encoder = encoder_of(part, encoders);
  if (encoder == nullptr || config.model.weights.empty()) return random;
  const std::string prefix = nn::path_of(*part.model, *encoder);
  const auto stored = std::make_shared<std::optional<std::map<std::string, at::Tensor>>>();  // of all copies
  return [random, stored, prefix, signature, encoder, weights = config.model.weights.string()](
             const std::string& name, at::Tensor& values) {
    if (!*stored) {
      *stored = stored_values(weights, *encoder, signature);
      nn::write_buffers(*encoder, **stored);
    }
    const std::string inner = name.starts_with(prefix) ? name.substr(prefix.size()) : "";
    if ((*stored)->contains(inner)) {
      values.copy_((*stored)->at(inner));
    } else {
      random(name, values);
    }
  };
}

std::vector<checkpoint::Meta::Encoder> stored_encoders(method::Method& method) {
  std::vector<checkpoint::Meta::Encoder> encoders;
  const std::vector<method::Part> parts = method.parts();
  for (const method::NamedEncoder& each : method.encoders()) {
    const auto part = std::find_if(parts.begin(), parts.end(),
                                   [&](const method::Part& other) { return other.name == each.part; });
    COHORT_CHECK(part != parts.end(), "encoder '{}' is in no part '{}'", each.name, each.part);
    encoders.push_back({each.name, "/" + each.part + "/" + nn::path_of(*part->model, *each.encoder)});
  }
  return encoders;
}

std::string encoder_prefix(const checkpoint::Contents& contents, const std::string& name) {
  const std::vector<checkpoint::Meta::Encoder>& encoders = contents.meta.encoders;
  if (encoders.empty()) return guessed_prefix(contents, name);
  std::vector<std::string> names;
  for (const checkpoint::Meta::Encoder& each : encoders) {
    if (name.empty() || each.name == name) return each.prefix;
    names.push_back(each.name);
  }
  throw UsageError(
      {fmt::format("the checkpoint has no part '{}'", name), "--part", did_you_mean(name, names)});
}

void load_checkpoint_weights(nn::Encoder& model, checkpoint::Store& store, std::int64_t step,
                             const std::string& prefix) {
  const at::NoGradGuard no_gradients;
  const checkpoint::Contents contents = store.contents(step);
  std::vector<checkpoint::Slice> slices;
  for (const auto& [name, value] : nn::named_values(model)) {
    if (model.is_optional(name) && !contents.tensors.contains(prefix + name)) continue;
    slices.push_back({prefix + name, value.sizes().vec(), 0, value.view({-1})});
  }
  store.load(step, slices);
}

void load_method_weights(method::Method& method, std::uint64_t seed, checkpoint::Store& store,
                         std::int64_t step) {
  const at::NoGradGuard no_gradients;
  std::vector<checkpoint::Slice> slices;
  for (const method::Part& part : method.parts()) {
    nn::initialise(*part.model, seed);
    for (const auto& [name, value] : nn::named_values(*part.model))
      slices.push_back({"/" + part.name + "/" + name, value.sizes().vec(), 0, value.view({-1})});
  }
  store.load(step, slices);
}

}  // namespace cohort::train
