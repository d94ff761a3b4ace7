#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cohort/checkpoint/store.h"

namespace cohort::jobs {

/// Which weights a command works with: a run folder, or a safetensors file and the configuration of its
/// model.
struct ModelSource {
  std::string run{}, weights{}, config{}, data{}, part{};
  std::string normalisation = "model";  ///< whose mean and deviation: "model" or "data"
  std::string step{};                   ///< of the run's checkpoint, or "best"; empty: the newest
  std::vector<std::string> overrides{};
};

/// --run, --step, --part, --weights, --model and --normalisation: which model. Throws CLI::ParseError while
/// parsing when they contradict.
void add_weight_options(CLI::App& command, ModelSource& source);
/// The same with --data and key=value overrides.
void add_model_options(CLI::App& command, ModelSource& source);

/// --step N|best.
CLI::Option* add_step_option(CLI::App& command, std::string& step);
/// What it names in a run's folder of checkpoints. One rank calls it. Throws DataError: there is no such
/// checkpoint.
std::int64_t chosen_step(const std::string& step, const checkpoint::Store& store, const std::string& run);

/// config.yaml of a run's folder. Throws DataError when there is none.
std::filesystem::path config_of_run(const std::string& run);

}  // namespace cohort::jobs
