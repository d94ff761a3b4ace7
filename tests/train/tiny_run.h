#pragma once
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cohort/train/run_config.h"

#include "support/tiny_dataset.h"

namespace cohort::train {

/// Twelve groups of four images, two steps an epoch: any of 1, 2, 3, 4 ranks divides them.
inline RunConfig tiny_run(const std::filesystem::path& folder, const std::string& name) {
  RunConfig config;
  config.run_dir = folder / name;
  config.data.path = folder / "tiny";
  config.sampler.groups_per_step = 12;
  config.sampler.images_per_group = 4;
  config.model = {.name = "vit_tiny", .patch_size = 4, .width = 16, .depth = 2, .heads = 2};
  config.model.dropout = 0.1;
  config.context.keys = {"site"};
  config.augment.whole.flip_horizontal = true;
  config.optimizer.lr = 3e-3;
  config.schedule.warmup_steps = 2;
  config.train.max_steps = 12;
  config.checkpoint.every_steps = 6;
  config.eval.context_images = 4;
  config.eval.every_epochs = 3;
  return config;
}

/// Lines of metrics.jsonl of one kind.
inline std::vector<nlohmann::json> lines_of(const std::filesystem::path& run, const std::string& kind) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    auto json = nlohmann::json::parse(line);
    if (json.at("kind") == kind) lines.push_back(std::move(json));
  }
  return lines;
}

/// "1 2 3": the steps of the lines of one kind, in the order of the file.
inline std::string steps_of(const std::filesystem::path& run, const std::string& kind) {
  std::string steps;
  for (const auto& line : lines_of(run, kind)) steps += line.at("step").dump() + " ";
  return steps;
}

}  // namespace cohort::train
