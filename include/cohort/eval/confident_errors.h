#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"

namespace cohort::eval {

/// The images of which a model is most sure and wrong, of images that ranks see one pass after the other.
/// Memory of a rank: those that are kept.
class ConfidentErrors {
 public:
  /// Keeps `most` of them.
  explicit ConfidentErrors(std::int64_t most) : most_(most) {}
  /// `logits` [n, classes] of dataset rows `rows` [n] i64; `labels` [n]: classes; -1: not known, which is no
  /// error. A label beyond the classes is never right.
  void add(const at::Tensor& rows, const at::Tensor& logits, std::span<const std::int64_t> labels);
  /// Collective, once. Their rows, most confident first, of equal ones the lowest row: the same on any number
  /// of ranks.
  std::vector<std::int64_t> finish(comm::Communicator& ranks);

 private:
  struct Case {
    double log_probability;  // of the answer
    std::int64_t row;
  };
  void keep_most();

  std::int64_t most_;
  std::vector<Case> cases_;
};

}  // namespace cohort::eval
