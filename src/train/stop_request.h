#pragma once
#include <chrono>
#include <filesystem>
#include <optional>

#include "cohort/train/run_config.h"

#include "train/stop_signal.h"

namespace cohort::train {

/// Who asks a run to stop or to save before its last step, as one rank sees it: a signal (on every rank), and
/// on the first rank alone the end of the job's time (Slurm), the files STOP and SAVE in the run folder, and
/// SIGCONT, which asks to save.
class StopRequest {
 public:
  enum class Reason { signal, time_limit, file };
  struct Wish {
    bool stop = false, save = false;
  };

  StopRequest(const StopConfig& config, std::filesystem::path run_folder, bool first_rank);

  /// After each step. Looks at the folder at most once a second.
  Wish look();
  /// Why to stop. `signal` on ranks that know of nothing: then another rank received one.
  [[nodiscard]] Reason reason() const noexcept { return reason_; }
  /// A checkpoint was made, of which the file SAVE asked: it is removed.
  void saved();
  /// The run is stopped: the file STOP is removed, so that the next start goes on.
  void stopped();

 private:
  [[nodiscard]] bool time_is_over() const;
  void look_at_folder();
  void remove(const char* name) const;

  StopSignal signal_;
  std::filesystem::path folder_;
  bool first_rank_;
  std::optional<std::chrono::system_clock::time_point> end_;  ///< margin taken off
  std::chrono::steady_clock::time_point next_look_;
  bool stop_file_ = false, save_file_ = false;
  bool continued_ = false;  ///< SIGCONT came, and no checkpoint was made since
  Reason reason_ = Reason::signal;
};

/// As in metrics.jsonl: "signal", "time limit", "file".
const char* name_of(StopRequest::Reason reason) noexcept;
/// As in messages: "a signal", "the end of the job's time", "the file STOP".
const char* describe(StopRequest::Reason reason) noexcept;

}  // namespace cohort::train
