#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cohort/comm/communicator.h"
#include "cohort/nn/vit.h"
#include "cohort/train/run_config.h"

namespace cohort::jobs {

/// Which weights a command works with: a run folder, or a safetensors file and the configuration of its
/// model.
struct ModelSource {
  std::string run, weights, config, data, part;
  std::int64_t step = 0;  ///< of the run's checkpoint; 0: the newest
  std::vector<std::string> overrides;
};

/// --run, --step, --part, --weights, --model, --data and key=value overrides. Throws CLI::ParseError while
/// parsing when they contradict.
void add_model_options(CLI::App& command, ModelSource& source);

struct TrainedModel {
  train::RunConfig config;  ///< data.path: the dataset to work on
  std::shared_ptr<nn::VisionTransformer> model;
  std::int64_t step = 0;  ///< steps it was trained for; 0: not known
};

/// Whether logits are wanted.
enum class Head {
  none,
  needed,          ///< a method that learns no classes, and weights without a fitting head, are refused
  where_there_is,  ///< none under a method that learns no classes
};

/// config.yaml of a run's folder. Throws DataError when there is none.
std::filesystem::path config_of_run(const std::string& run);

/// Collective. Throws UsageError or DataError.
TrainedModel load_trained_model(const ModelSource& source, Head head, comm::Communicator& ranks);

}  // namespace cohort::jobs
