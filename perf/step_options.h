#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "table.h"

namespace cohort::perf {

struct StepOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::int64_t steps = 10, warmup = 2;
  std::string synthetic;     ///< "96x96x3": images of this size instead of the configuration's dataset
  std::string folder = ".";  ///< for the run, which is removed in the end
  double peak = 0;           ///< TFLOP/s of a rank; 0: measured
  Output output;
};

/// For cohort-perf step, and for what starts it on several numbers of ranks.
void add_step_options(CLI::App* command, StepOptions& options);

}  // namespace cohort::perf
