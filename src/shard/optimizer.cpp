#include "cohort/shard/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>

#include "cohort/core/error.h"

#include "adamw.h"
#include "lars.h"
#include "parameter_groups.h"
#include "sgd.h"

namespace cohort::shard {
namespace {

using PerParameter = std::vector<std::vector<double>>;

double clip_factor(double norm, double largest) {
  return std::min(1.0, largest / (norm + 1e-6));
}

double norm_of_all(const PerParameter& squared) {
  double sum = 0.0;
  for (const auto& of_shard : squared) {
    for (const double of_parameter : of_shard) sum += of_parameter;
  }
  return std::sqrt(sum);
}

// "head.*=10"
nn::ParameterRule lr_rule(const std::string& text) {
  constexpr double kMost = 1000.0;
  const std::size_t sign = std::min(text.rfind('='), text.size());
  double factor = -1.0;
  try {
    config::scalar::parse(text.substr(std::min(sign + 1, text.size())), factor);
  } catch (const std::invalid_argument&) {
    factor = -1.0;
  }
  if (sign == text.size() || factor < 0.0 || factor > kMost) {
    throw UsageError({fmt::format("optimizer.lr_of has '{}', which is no PATTERN=FACTOR", text),
                      "optimizer.lr_of",
                      fmt::format("write \"head.*=10\", with a factor of 0 … {:g}", kMost)});
  }
  return {.pattern = text.substr(0, sign), .lr_scale = factor};
}

// One launch for many shards on a device.
void scale(std::span<const FlatShard> shards, double factor) {
  std::vector<at::Tensor> gradients;
  for (const FlatShard& shard : shards) {
    if (shard.trained) gradients.push_back(shard.gradient);
  }
  if (!gradients.empty()) at::_foreach_mul_(gradients, factor);
}

struct Entry {
  std::string_view name;
  int states;
  std::unique_ptr<Optimizer> (*make)(std::span<FlatShard>, const OptimizerConfig&, SquaredNorms, const Rules&);
};

template <class Rule>
std::unique_ptr<Optimizer> make(std::span<FlatShard> shards, const OptimizerConfig& config,
                                SquaredNorms squared_norms, const Rules& rules) {
  return std::make_unique<Rule>(shards, config, std::move(squared_norms), rules);
}

constexpr std::array kOptimizers{
    Entry{"adamw", 2, make<AdamW>},
    Entry{"sgd", 1, make<Sgd>},
    Entry{"lars", 1, make<Lars>},
};

const Entry& find_entry(std::string_view name) {
  const auto found = std::find_if(kOptimizers.begin(), kOptimizers.end(),
                                  [&](const Entry& entry) { return entry.name == name; });
  COHORT_CHECK(found != kOptimizers.end(), "no optimizer '{}'", name);
  return *found;
}

}  // namespace

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kOptimizers) names.emplace_back(entry.name);
  return names;
}

int states_of_optimizer(std::string_view name) {
  return find_entry(name).states;
}

std::span<const config::EnumName<ClipScope>> enum_names(ClipScope) {
  static constexpr std::array names{config::EnumName<ClipScope>{ClipScope::global, "global"},
                                    config::EnumName<ClipScope>{ClipScope::parameter, "parameter"}};
  return names;
}

std::vector<nn::ParameterRule> configured_rules(const OptimizerConfig& config) {
  std::vector<nn::ParameterRule> rules;
  for (const std::string& pattern : config.frozen) rules.push_back({.pattern = pattern, .trained = false});
  for (const std::string& text : config.lr_of) rules.push_back(lr_rule(text));
  for (const std::string& pattern : config.no_weight_decay)
    rules.push_back({.pattern = pattern, .weight_decay = 0.0});
  return rules;
}

Optimizer::Optimizer(std::span<FlatShard> shards, const OptimizerConfig& config, SquaredNorms squared_norms,
                     std::int64_t steps_per_epoch)
    : shards_(shards),
      config_(config),
      squared_norms_(std::move(squared_norms)),
      steps_per_epoch_(steps_per_epoch) {}

double Optimizer::clip_gradients() {
  const at::NoGradGuard no_grad;
  PerParameter squared = squared_norms_(trained_gradients(shards_));
  const double norm = norm_of_all(squared);
  if (config_.clip_norm == 0.0 || !std::isfinite(norm)) return norm;
  if (config_.clip == ClipScope::global) {
    const double factor = clip_factor(norm, config_.clip_norm);
    if (factor < 1.0) scale(shards_, factor);
    return norm;
  }
  for (auto& of_shard : squared) {
    for (double& entry : of_shard) entry = clip_factor(std::sqrt(entry), config_.clip_norm);
  }
  scale_gradients(shards_, squared);
  return norm;
}

void Optimizer::step(double lr, double weight_decay, double gradient_norm) {
  if (!std::isfinite(gradient_norm)) {
    throw NumericalError({fmt::format("the norm of the gradients is {}", gradient_norm),
                          fmt::format("update {}", steps_ + 1),
                          "lower optimizer.lr, set optimizer.clip_norm or lengthen the warm-up; with bf16, "
                          "try precision=fp32"});
  }
  const at::NoGradGuard no_grad;
  ++steps_;
  update(lr, weight_decay);
}

std::unique_ptr<Optimizer> make_optimizer(std::span<FlatShard> shards, const OptimizerConfig& config,
                                          SquaredNorms squared_norms, const Rules& rules) {
  return find_entry(config.name).make(shards, config, std::move(squared_norms), rules);
}

}  // namespace cohort::shard
