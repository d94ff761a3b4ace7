#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"

namespace cohort::method {

/// Views that the teacher sees: the first ones of a batch.
inline constexpr std::int64_t kTeacherViews = 2;

/// Mean teacher output, an exponential moving average over steps, which keeps one prototype from taking all
/// (DINO, arXiv 2104.14294, equation 4). It does not depend on how a step's rows are divided over ranks and
/// parts: each part's sum is rounded to a multiple of 2^-32, and such numbers add up exactly in any order.
class Centre {
 public:
  Centre(std::int64_t prototypes, double momentum);

  /// [K] f32, zeros at first; on the device of the logits from the first add() on. A checkpoint keeps it.
  [[nodiscard]] const at::Tensor& values() const noexcept { return values_; }
  /// Teacher logits [R, K] of a part of the step. |logit| R, summed over the step, stays below 2^31.
  void add(const at::Tensor& logits);
  /// Takes back what was added since the last update: a step begins anew.
  void forget() { sums_.zero_(); }
  /// Collective. centre = momentum centre + (1 - momentum) mean of all rows added on all ranks since the last
  /// update. `ranks` null: this rank alone.
  void update(comm::Communicator* ranks);

 private:
  double momentum_;
  at::Tensor values_;
  at::Tensor sums_;  ///< [K + 1] i64: sums in units of 2^-32, number of rows
};

/// Divides the teacher's logits in an epoch: linspace(start, end, warm_up) over the first epochs, then end.
double teacher_temperature(double start, double end, std::int64_t warm_up, std::int64_t epoch);

/// softmax((logits - centre) / temperature) over prototypes: logits [kTeacherViews, B, K], centre [K].
at::Tensor teacher_probabilities(const at::Tensor& logits, const at::Tensor& centre, double temperature);

/// Sum over the images of the mean, over all pairs of a teacher view and another student view, of
/// -sum_k p_k log softmax(logits / temperature)_k (equations 2 and 3). Student logits [V, B, K], V >= 2,
/// probabilities [kTeacherViews, B, K] of the same first views. Scalar, in the precision of the logits.
at::Tensor cross_entropy_of_views(const at::Tensor& student_logits, const at::Tensor& probabilities,
                                  double temperature);

}  // namespace cohort::method
