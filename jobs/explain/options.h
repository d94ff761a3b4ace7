#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cohort/eval/explanation_scores.h"
#include "cohort/nn/explainer.h"

#include "jobs/model_source.h"

namespace cohort::jobs {

/// What cohort explain is asked for.
struct ExplainOptions {
  ModelSource model;
  std::string split, out;
  std::vector<std::string> ids;
  std::int64_t images = 8, errors = 0, neighbours = 5;
  nn::ExplainerConfig how;
  std::vector<std::string> scores;  ///< names for --score
  eval::ExplanationScoreConfig scored;
  std::int64_t scored_images = 64;  ///< 0: all
  std::string heat_maps;            ///< folder; empty: none
  bool overwrites = false;
};

/// The options that say how maps are made, and what they are scored by.
void add_map_options(CLI::App& command, ExplainOptions& options);
void add_score_options(CLI::App& command, ExplainOptions& options);
/// Behind parsing: what --score and --region ask for. Throws CLI::ParseError when they contradict.
void take_scores(ExplainOptions& options);

}  // namespace cohort::jobs
