#pragma once
#include <cstddef>
#include <functional>

#include <ATen/core/Tensor.h>

namespace cohort::nn {

/// The seam between a model and the engine that shards it. A model runs each of its units (usually one
/// transformer block) through the runner it was given; the plain one below just calls it. nn/ knows nothing
/// else of sharding.
class UnitRunner {
 public:
  using Body = std::function<at::Tensor(const at::Tensor&)>;
  UnitRunner() = default;
  UnitRunner(const UnitRunner&) = delete;
  UnitRunner& operator=(const UnitRunner&) = delete;
  virtual ~UnitRunner() = default;
  /// Called by a model at the start of every forward pass, before it uses parameters outside its units.
  virtual void begin() {}
  /// `index` counts the units of the model in the order of the forward pass.
  virtual at::Tensor run(std::size_t index, const at::Tensor& input, const Body& body);
  /// Whether a forward pass communicates, so that all ranks have to run as many.
  [[nodiscard]] virtual bool is_collective() const noexcept { return false; }
};

}  // namespace cohort::nn
