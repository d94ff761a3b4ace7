#pragma once
#include <string>

#include <torch/nn/module.h>

#include "comparison.h"

namespace cohort::comm {
class Communicator;
}

namespace cohort::golden_check {

/// Copies <prefix><name> into every parameter of `module`. Throws std::runtime_error when the file lacks one
/// or has another shape.
void load_parameters(Comparison& file, const std::string& prefix, torch::nn::Module& module);
/// Buffers that the file has.
void load_buffers(Comparison& file, const std::string& prefix, torch::nn::Module& module);

/// Every <prefix><name> of the file against the gradient of that parameter; a parameter that the module does
/// not have is an error.
void compare_gradients(Comparison& file, const std::string& prefix, const torch::nn::Module& module,
                       Tolerance tolerance);

/// What a batch normalisation learnt in a step, as one process would: nn::StepState::finish_step() of each.
void finish_step(torch::nn::Module& module);

/// `values`, a leaf of its own that gets a gradient.
at::Tensor leaf(const at::Tensor& values);

/// One rank, for what is sharded.
comm::Communicator& one_rank();

/// The number that a tolerance is, or that its text begins with ("5e-05 of the tensor maximum + …").
double leading_number(const nlohmann::json& value);

}  // namespace cohort::golden_check
