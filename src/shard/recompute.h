#pragma once
#include <ATen/core/Tensor.h>

#include "cohort/nn/unit.h"

namespace cohort::shard {

/// Activation checkpointing (Chen et al., arXiv 1604.06174): `body(inputs)`, of which only the inputs are
/// kept; the backward pass runs the body again, under the autocast settings of now. The body must give the
/// same values twice: random numbers are keyed, so that it does. Without an input that needs a gradient
/// nothing is recomputed: the body runs as it is.
nn::Tensors recomputed(const nn::UnitRunner::Body& body, const nn::Tensors& inputs);

}  // namespace cohort::shard
