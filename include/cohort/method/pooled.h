#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include <ATen/core/Tensor.h>

#include "cohort/method/method.h"

namespace cohort::method {

/// A loss of the rows of all images of a step, and what of its gradient this rank passes back.
class RowsOfAll {
 public:
  /// Scalar, of rows [B, …] f32 of all images of a step, in its order; no parameters, not collective.
  using Loss = std::function<at::Tensor(const at::Tensor& rows, Metrics& metrics)>;

  void clear() { state_.reset(); }
  [[nodiscard]] bool is_empty() const noexcept { return !state_; }
  /// With this rank's rows of the whole step, [n, …]; never under autocast. Collective.
  void pool(const at::Tensor& rows, comm::Communicator* ranks, const Loss& loss);
  /// The share of the next `rows` [b, …] of pool()'s in the loss, with their gradient; empty after the last.
  at::Tensor share(const at::Tensor& rows, Metrics& metrics);

 private:
  struct State {
    double loss = 0;
    at::Tensor gradient;     ///< of this rank's rows, [n, …]
    std::int64_t rows = 0;   ///< of all ranks
    std::int64_t begin = 0;  ///< of the rows whose gradients were not passed back yet
    Metrics metrics;         ///< of the loss, until the first share() took them
  };
  std::optional<State> state_;
};

/// A method whose loss compares all images of a step with each other and sees each of them as one row:
/// SimCLR, Barlow Twins, CLIP. The loss is that of the whole step, whatever the number of ranks and
/// micro-batches, and has the same bits where a run is reproducible: every rank has the rows of all images
/// and forms the same loss and the same gradient of its own rows, which it passes back. A step of several
/// parts embeds each of them twice: first without gradients, to know all rows, then to pass their gradients
/// back. Memory of a rank: B rows and what loss_of_all() makes of them (SimCLR: [2 B, 2 B]).
class PooledMethod : public Method {
 public:
  /// One row an image, [b, …], in the order of the batch. The rows of all parts have the same shape but for
  /// b. Collective where its model is. May be called a second time with the same batch, for the same values.
  virtual at::Tensor embed(const data::Batch& batch, const Step& step, Metrics& metrics) = 0;
  /// Scalar: the loss of `rows` [B, …] f32, those of all images of the step, in its order; never under
  /// autocast. Not collective; no
  /// parameters, whose gradients would be lost: what `rows` carry alone counts.
  virtual at::Tensor loss_of_all(const at::Tensor& rows, const Step& step, Metrics& metrics) = 0;

  void prepare(std::span<const data::Batch> parts, const Step& step) final;
  at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) final;

 private:
  void pool(const at::Tensor& rows, const Step& step);

  RowsOfAll pooled_;
};

}  // namespace cohort::method
