#pragma once
#include <vector>

#include "cohort/method/method.h"
#include "cohort/nn/parameter_rule.h"
#include "cohort/shard/optimizer.h"

namespace cohort::train {

/// Of the trained part: those of the method, then those of the configuration. "encoder" in optimizer.frozen
/// stands for all parameters of the encoder but those of its head.
std::vector<nn::ParameterRule> parameter_rules(method::Method& method, const shard::OptimizerConfig& config);

/// Takes the gradients from what is not trained: parts that follow or are frozen, and parameters that rules
/// freeze. Before the parts are sharded. Throws UsageError: a pattern of the configuration that no parameter
/// has, or that leaves nothing to train; Bug: such a pattern of the method, or parts of which not one alone
/// is trained.
void freeze(method::Method& method, const shard::OptimizerConfig& config);

}  // namespace cohort::train
