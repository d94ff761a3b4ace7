#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/eval/scorecard.h"

namespace cohort::eval {

/// Answers that are held, so that areas under their curves have intervals from 1,000 samples of as many
/// images, drawn with replacement by their rows.
class ResampledFlags {
 public:
  explicit ResampledFlags(std::int64_t flags) : flags_(flags) {}

  /// `logits` [n, flags] f64, `labels` [n, flags], -1: not known.
  void add(std::span<const std::int64_t> rows, const at::Tensor& logits,
           std::span<const std::int32_t> labels);
  /// Collective, once. "auroc" and "average_precision" of all and of each class get intervals.
  void put_intervals(Scorecard& card, comm::Communicator& ranks);

 private:
  std::int64_t flags_;
  std::vector<std::int64_t> rows_;
  std::vector<double> logits_;        // [n, flags]
  std::vector<std::int32_t> labels_;  // [n, flags]
};

}  // namespace cohort::eval
