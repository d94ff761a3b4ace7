#pragma once
#include <filesystem>

#include "cohort/comm/communicator.h"
#include "cohort/nn/weights.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// Collective. Makes the weights of a safetensors file (timm's names) those of the configuration's model:
/// what can be adapted is, what is missing gets the random values of config.seed (nn/weights.h). `out` is a
/// safetensors file, or a checkpoint "…/step-00000000" that a run of this configuration starts from. No rank
/// holds the whole model: values go from file to file one tensor at a time, or, into a checkpoint, each rank
/// takes its share of the parameters. Returns what was done, on every rank. Throws UsageError (another `out`,
/// or one beside other checkpoints) or DataError.
nn::FittedWeights import_weights(const std::filesystem::path& weights, const RunConfig& config,
                                 const std::filesystem::path& out, comm::Communicator& ranks);

}  // namespace cohort::train
