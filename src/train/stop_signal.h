#pragma once
#include <csignal>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::train {

/// Number of a signal that can ask a run to stop, by its name without SIG: "TERM"; nothing for another name.
std::optional<int> stop_signal_number(std::string_view name) noexcept;
/// The names that stop_signal_number() knows.
std::vector<std::string> stop_signal_names();

/// While it lives, the signals that it was made for are remembered instead of ending the process: what
/// schedulers send before they preempt a job, and Ctrl-C (INT), of which a second one ends the process at
/// once. One at a time.
class StopSignal {
 public:
  /// `names`: of stop_signal_names(); train::validate() refuses others. An INT that the process ignores stays
  /// ignored. `first_rank`: says at once, on stderr, that a signal has come.
  StopSignal(std::span<const std::string> names, bool first_rank);
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  /// What was done before with the signals is done again, unless somebody has chosen otherwise meanwhile.
  ~StopSignal();
  [[nodiscard]] bool received() const noexcept;
  /// Whether SIGCONT came since the last call: Open MPI and Slurm send it some time before they end a job.
  [[nodiscard]] bool take_continued() noexcept;

 private:
  struct Replaced {
    int number;
    struct sigaction before;
  };
  void replace(int number, void (*handler)(int));
  std::vector<Replaced> replaced_;
};

}  // namespace cohort::train
