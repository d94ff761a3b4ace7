#pragma once
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"

namespace torch::nn {
class Module;
}

namespace cohort::nn {

/// A module whose buffers move once a step, by sums over all images of the step: running statistics of batch
/// normalisation. The sums are integers, so that they are the same in any order, on any number of ranks.
class StepState {
 public:
  StepState() = default;
  StepState(const StepState&) = default;
  StepState& operator=(const StepState&) = default;
  virtual ~StepState() = default;
  /// i64 [n], what the training passes of this rank have added since the step began; the storage is the
  /// module's own, and is written into.
  virtual at::Tensor sums() = 0;
  /// sums() are those of all ranks now: moves the buffers.
  virtual void finish_step() = 0;
};

/// Those of a model, which outlives this. One thread at a time.
class StepStates {
 public:
  explicit StepStates(torch::nn::Module& model);
  /// Forgets what was added: the step begins, or begins again.
  void begin_step();
  /// Collective: one all-reduce for all of them, none without any.
  void finish_step(comm::Communicator& ranks);

 private:
  std::vector<StepState*> states_;
};

/// While one lives, this thread computes something a second time (activation checkpointing): nothing is added
/// to the sums of a StepState.
class RepeatedPass {
 public:
  RepeatedPass() noexcept;
  RepeatedPass(const RepeatedPass&) = delete;
  RepeatedPass& operator=(const RepeatedPass&) = delete;
  ~RepeatedPass();
  [[nodiscard]] static bool is_on() noexcept;

 private:
  bool before_;
};

}  // namespace cohort::nn
