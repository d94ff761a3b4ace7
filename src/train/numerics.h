#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/checkpoint/store.h"
#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"
#include "cohort/train/run_config.h"

#include "train/step_totals.h"

namespace cohort::train {

enum class Trouble { none, not_finite, spike };

/// Tells bad steps from good ones. Equal on every rank that is told the same.
class NumericsGuard {
 public:
  explicit NumericsGuard(const NumericsConfig& config);

  [[nodiscard]] Trouble judge(double loss, double gradient_norm) const noexcept;
  /// A good step: its norm is one of those that later ones are compared with.
  void passed(double gradient_norm);
  /// A bad step. Whether there have been more in a row than the configuration allows.
  bool is_one_too_many() noexcept { return ++in_a_row_ > config_.most_in_a_row; }
  /// Median of the last norms; 0 while there are too few to compare with.
  [[nodiscard]] double usual_norm() const noexcept { return usual_; }
  /// [kNorms] f32, the last norms, newest first, 0 where there are none yet: kept in checkpoints. Written in
  /// place when a run goes on; restored() then takes it in. Undefined without numerics.spike.
  [[nodiscard]] const at::Tensor& norms() const noexcept { return norms_; }
  void restored();

 private:
  static constexpr std::int64_t kNorms = 64, kLeast = 16;

  NumericsConfig config_;
  at::Tensor norms_;
  double usual_ = 0.0;
  std::int64_t in_a_row_ = 0;
};

/// What one rank knows of a bad step that it has computed again.
struct Findings {
  bool own_loss_is_finite = true;
  std::string image;     ///< the first one with values that are not finite; empty: none
  std::string gradient;  ///< the first of its own gradients, before any reduction, that is not finite
};

/// Why a step is bad, as far as computing it again tells; the same on every rank.
struct Cause {
  bool repeats = true;  ///< it came out the same
  int rank = -1;        ///< the first rank with something wrong of its own; -1: none has
  std::string host;
  Findings findings;  ///< of that rank
};

/// Collective. `first`: what the step was; `again`: what it is when it is computed a second time.
Cause cause_of(const StepTotals& first, const StepTotals& again, bool again_is_bad, const Findings& mine,
               comm::Communicator& ranks);

/// What happened, for messages: "step 17: the loss is not finite (loss nan, gradient norm nan)". `usual`:
/// NumericsGuard::usual_norm(); `step`: counted from 1; `where`: the run.
NumericalError trouble_error(Trouble trouble, double loss, double gradient_norm, double usual,
                             std::int64_t step, const std::string& where, const Cause& cause);
/// "rank 2 on node7: image 'a.png' has values that are not finite; it is so again when …".
std::string cause_text(const Cause& cause);

/// The line of metrics.jsonl. `action`: "skip", "rollback".
std::string trouble_json(const std::string& text, const Cause& cause, const std::string& action,
                         std::int64_t step, std::int64_t epoch);

/// Collective. The newest checkpoint of the run. Throws NumericalError when there is none.
std::int64_t step_to_go_back_to(const checkpoint::Store& store, comm::Communicator& ranks);

}  // namespace cohort::train
