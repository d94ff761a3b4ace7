#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "cohort/checkpoint/store.h"
#include "cohort/comm/communicator.h"
#include "cohort/data/signature.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

class TrainingData;

/// Names inside a run folder; other tools rely on them.
struct RunFolder {
  std::filesystem::path path;
  [[nodiscard]] std::filesystem::path config() const { return path / "config.yaml"; }
  [[nodiscard]] std::filesystem::path metrics() const { return path / "metrics.jsonl"; }
  [[nodiscard]] std::filesystem::path log() const { return path / "log.txt"; }
  [[nodiscard]] std::filesystem::path checkpoints() const { return path / "checkpoints"; }
  [[nodiscard]] std::filesystem::path weights() const { return path / "weights.safetensors"; }
  /// Of the best checkpoint, with checkpoint.best_by.
  [[nodiscard]] std::filesystem::path best_weights() const { return path / "weights_best.safetensors"; }
  [[nodiscard]] std::filesystem::path report() const { return path / "report.html"; }
  [[nodiscard]] std::filesystem::path trace() const { return path / "trace.json"; }
  [[nodiscard]] std::filesystem::path tensorboard() const { return path / "tensorboard"; }
  [[nodiscard]] std::filesystem::path views() const { return path / "views.png"; }
  [[nodiscard]] std::filesystem::path pictures() const { return path / "pictures.png"; }
  /// Of ranks that failed since the run was last started.
  [[nodiscard]] std::filesystem::path failure() const { return path / "failure"; }
  /// Configuration in the checkpoint that the run last went on from.
  [[nodiscard]] std::filesystem::path resumed_from() const { return path / "resumed_from.yaml"; }
};

/// Where a run begins.
struct Start {
  std::int64_t step = 0;              ///< steps already done
  std::filesystem::path checkpoints;  ///< folder of the checkpoints to load `step` from; empty: a new run
};

/// The configuration to build a run with. A checkpoint has all values: the weights that a new run would begin
/// with are not asked for, and may be gone.
RunConfig config_from(const Start& start, RunConfig config);

/// What a run is to be trained on, which a checkpoint to go on from must fit.
struct Material {
  std::string identity;  ///< dataset_identity()
  data::Signature signature;
  std::int64_t steps_per_epoch = 0;
};
Material material_of(const RunConfig& config, const TrainingData& data);

/// Collective. Makes the folder and decides from config.resume and what the folder holds:
///  auto   the newest checkpoint whose every value matches its checksum; damaged ones are named in a warning
///         and left alone; a new run if there is no checkpoint (a run killed before its first one begins
///         again)
///  never  a new run; refuses a folder that already holds one
///  PATH   that checkpoint (step-… folder), in a folder that holds no run yet
/// `overwrite` first removes what an earlier run left in the folder. A checkpoint must fit: the dataset with
/// its names and statistics, and the keys that decide what a step is (must_match). A learning rate that jumps
/// is logged. Throws UsageError or DataError (every checkpoint is damaged) on every rank.
Start choose_start(const RunConfig& config, bool overwrite, const Material& material,
                   comm::Communicator& ranks);

/// Keys of two configurations that differ, as "optimizer.lr: 0.001 -> 0.002".
struct Differences {
  std::vector<std::string> forbidden;  ///< the model, the data, their order, the seed
  std::vector<std::string> allowed;
};
Differences differences(const RunConfig& before, const RunConfig& now);

}  // namespace cohort::train
