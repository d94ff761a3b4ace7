#pragma once
#include <ATen/core/Tensor.h>

#include "cohort/nn/unit.h"

namespace cohort::shard {

/// Activation checkpointing (Chen et al., arXiv 1604.06174): `body(input)`, of which only the input is kept;
/// the backward pass runs the body again, under the autocast settings of now. The body must give the same
/// values twice: random numbers are keyed, so that it does. An input that needs no gradient is not
/// recomputed: its body runs as it is.
at::Tensor recomputed(const nn::UnitRunner::Body& body, const at::Tensor& input);

}  // namespace cohort::shard
