#include "train/parameter_rules.h"

#include <algorithm>
#include <set>
#include <string>

#include <ATen/core/Tensor.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/nn/encoder.h"
#include "cohort/nn/unit_model.h"

namespace cohort::train {
namespace {

using Names = std::vector<std::string>;

bool matches_any(const std::string& pattern, const Names& names) {
  return std::any_of(names.begin(), names.end(),
                     [&](const auto& name) { return nn::matches(pattern, name); });
}

// "blocks.*", "blocks.0.*", names: what is outside before what is inside.
Names patterns_for(const Names& names) {
  std::set<std::string> all(names.begin(), names.end());
  for (const std::string& name : names) {
    for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      all.insert(name.substr(0, dot) + ".*");
  }
  Names patterns(all.begin(), all.end());
  const auto depth = [](const std::string& text) { return std::count(text.begin(), text.end(), '.'); };
  std::stable_sort(patterns.begin(), patterns.end(),
                   [&](const auto& a, const auto& b) { return depth(a) < depth(b); });
  return patterns;
}

std::string key_of(const nn::ParameterRule& configured) {
  if (configured.trained) return "optimizer.frozen";
  return configured.lr_scale ? "optimizer.lr_of" : "optimizer.no_weight_decay";
}

bool is_encoder(const nn::ParameterRule& configured) {
  return configured.pattern == "encoder" && configured.trained;
}

/// Names in the trained part of what the method's first encoder there has besides its head.
Names encoder_parameters(method::Method& method) {
  const std::vector<method::Part> parts = method.parts();
  const method::Part& trained = method::trained_part(parts);
  std::set<const void*> found;
  for (const method::NamedEncoder& each : method.encoders()) {
    if (each.part != trained.name || !found.empty()) continue;
    const std::string_view head = each.encoder->head();
    for (const auto& parameter : each.encoder->named_parameters()) {
      if (head.empty() || !parameter.key().starts_with(head))
        found.insert(parameter.value().unsafeGetTensorImpl());
    }
  }
  Names names;
  for (const auto& parameter : trained.model->named_parameters()) {
    if (found.contains(parameter.value().unsafeGetTensorImpl())) names.push_back(parameter.key());
  }
  return names;
}

void check_patterns(const method::Method& method, const shard::OptimizerConfig& config, const Names& names) {
  for (const nn::ParameterRule& rule : method.rules())
    COHORT_CHECK(matches_any(rule.pattern, names),
                 "a rule of the method for '{}', which no parameter is called", rule.pattern);
  for (const nn::ParameterRule& rule : shard::configured_rules(config)) {
    if (is_encoder(rule) || matches_any(rule.pattern, names)) continue;
    throw UsageError({fmt::format("no parameter is called '{}'", rule.pattern), key_of(rule),
                      did_you_mean(rule.pattern, patterns_for(names))});
  }
}

void freeze_all(const nn::UnitModel& model) {
  for (const at::Tensor& parameter : model.parameters()) parameter.set_requires_grad(false);
}

// Returns whether something is left to train.
bool freeze_some(const nn::UnitModel& model, const std::vector<nn::ParameterRule>& rules) {
  bool trains = false;
  for (const auto& parameter : model.named_parameters()) {
    if (!nn::rule_for(parameter.key(), rules).trained.value_or(true))
      parameter.value().set_requires_grad(false);
    trains = trains || parameter.value().requires_grad();
  }
  return trains;
}

}  // namespace

std::vector<nn::ParameterRule> parameter_rules(method::Method& method, const shard::OptimizerConfig& config) {
  std::vector<nn::ParameterRule> rules = method.rules();
  for (nn::ParameterRule& rule : shard::configured_rules(config)) {
    if (is_encoder(rule)) {
      for (const std::string& name : encoder_parameters(method))
        rules.push_back({.pattern = name, .trained = false});
    } else {
      rules.push_back(std::move(rule));
    }
  }
  return rules;
}

void freeze(method::Method& method, const shard::OptimizerConfig& config) {
  const std::vector<method::Part> parts = method.parts();
  const method::Part& trained = method::trained_part(parts);
  for (const method::Part& part : parts) {
    if (&part != &trained) freeze_all(*part.model);
  }
  check_patterns(method, config, trained.model->named_parameters().keys());
  if (freeze_some(*trained.model, parameter_rules(method, config))) return;
  throw UsageError({"optimizer.frozen freezes all parameters: nothing is left to train", "optimizer.frozen",
                    "leave out a pattern; cohort extract and cohort probe use a model as it is"});
}

}  // namespace cohort::train
