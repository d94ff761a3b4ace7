#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"
#include "cohort/train/run_config.h"
#include "cohort/train/stage_observer.h"

namespace cohort::nn {
class Encoder;
}

namespace cohort::train {

/// Trains one configuration to its end, in a run folder (docs/formats/run.md names its files), which the
/// caller owns (own_run() in train/run_owner.h). The loop and nothing else: what it uses is built from the
/// configuration, one short function a part. Not movable; one at a time in a process, since it listens to
/// SIGTERM and SIGUSR2 while it runs.
class Trainer {
 public:
  /// Collective. Opens the dataset, makes model and optimizer, and restores the checkpoint to go on from, if
  /// any (RunConfig:: resume). `overwrite`: remove what an earlier run left in run_dir. `observer`: hears of
  /// the stages of each step; null: nobody. `ranks` and `observer` outlive the trainer. Throws UsageError or
  /// DataError, the same on every rank.
  Trainer(const RunConfig& config, comm::Communicator& ranks, bool overwrite = false,
          StageObserver* observer = nullptr);
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;
  ~Trainer();

  /// Collective; once. Trains, logs, evaluates and saves until the last step is done (ExitCode::done) or a
  /// stop signal came: then the step is finished and saved (ExitCode::stopped). A run that is complete
  /// already returns at once. Throws NumericalError on every rank when loss or gradients are not finite;
  /// DataError when data or disk fail.
  ExitCode run();

  [[nodiscard]] std::int64_t first_step()
      const noexcept;  ///< steps done before: 0, or those of the checkpoint
  [[nodiscard]] std::int64_t total_steps() const noexcept;
  /// Its parameters have values only while it runs when sharding.strategy divides them (shard::ShardedModel).
  [[nodiscard]] nn::Encoder& model() noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// "3 evaluations in a row without a better test/auc": why a run ends before its last step, as end_of_run()
/// tells it; the same text for the same options, empty without train.early_stopping.
std::string reason_to_end_early(const RunConfig& config);

/// For the end of a program, whose exit code is decided: the signals of train.stop.signals do nothing from
/// here on, but for INT (Ctrl-C), which ends the process at once unless it is ignored. A Trainer that goes
/// away afterwards leaves that as it is.
void ignore_stop_signals(const StopConfig& config);

}  // namespace cohort::train
