#pragma once
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/checkpoint/store.h"
#include "cohort/comm/session.h"
#include "cohort/train/run_config.h"
#include "cohort/train/trainer.h"

#include "support/temporary_folder.h"

namespace cohort::e2e {

/// What a finished run left behind.
struct Result {
  std::vector<double> losses;  ///< of every step
  std::map<std::string, at::Tensor> weights;
  std::map<std::string, at::Tensor> state;  ///< all parts of the last checkpoint, without the optimizer
};

/// Twelve groups of four real nuclei a step, which 1, 2, 3, 4, 6 and 12 ranks divide, and a small model.
inline train::RunConfig nuclei_run() {
  train::RunConfig config;
  config.data.path = std::filesystem::path(COHORT_TEST_DATA) / "data" / "nuclei";
  config.sampler.groups_per_step = 12;
  config.sampler.images_per_group = 4;
  config.sampler.group_by = "context";
  config.model = {.name = "vit_tiny", .patch_size = 16, .width = 48, .depth = 3, .heads = 3};
  config.context.keys = {"context"};
  config.augment.whole.flip_horizontal = config.augment.whole.rotate90 = true;
  config.augment.whole.crop_scale_min = 0.5;
  config.optimizer.lr = 1e-3;
  // Adam divides a gradient by its own size: where the true gradient is 0 (the key third of attn.qkv.bias) or
  // tiny, that turns rounding noise into steps of full length. A larger epsilon keeps the update a smooth
  // function of the gradient.
  config.optimizer.epsilon = 1e-3;
  return config;
}

inline std::vector<double> losses_of(const std::filesystem::path& run) {
  std::vector<double> losses;
  std::ifstream lines(run / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const auto entry = nlohmann::json::parse(line);
    if (entry.at("kind") == "step") losses.push_back(entry.at("loss"));
  }
  return losses;
}

inline std::map<std::string, at::Tensor> weights_of(const std::filesystem::path& run) {
  const checkpoint::Safetensors file = checkpoint::read_safetensors(run / "weights.safetensors");
  return {file.tensors.begin(), file.tensors.end()};
}

/// Collective.
inline std::map<std::string, at::Tensor> state_of(const std::filesystem::path& run,
                                                  comm::Communicator& ranks) {
  checkpoint::Store store(run / "checkpoints", ranks);
  const std::int64_t step = store.steps().back();
  std::map<std::string, at::Tensor> state;
  std::vector<checkpoint::Slice> slices;
  for (const auto& [name, tensor] : store.contents(step).tensors) {
    if (name.starts_with("/optimizer/")) continue;
    state[name] = at::empty(tensor.shape);
    slices.push_back({name, tensor.shape, 0, state[name].view({-1})});
  }
  store.load(step, slices);
  return state;
}

/// Collective. Trains in a folder of its own, which is gone afterwards. The result is the same on every rank.
inline Result train_on(comm::Communicator& ranks, train::RunConfig config) {
  std::unique_ptr<testing::TemporaryFolder> temporary;
  if (ranks.rank() == 0) temporary = std::make_unique<testing::TemporaryFolder>();
  config.run_dir = ranks.broadcast_text(temporary ? temporary->path().string() : "") + "/run";
  train::Trainer trainer(config, ranks);
  EXPECT_EQ(trainer.run(), ExitCode::done);
  ranks.barrier();
  Result result{losses_of(config.run_dir), weights_of(config.run_dir), state_of(config.run_dir, ranks)};
  ranks.barrier();
  return result;
}

}  // namespace cohort::e2e
