#pragma once
#include <cstddef>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cohort::nn {

/// What goes into a unit, or comes out of it; undefined tensors may be among them.
using Tensors = std::vector<at::Tensor>;

/// The seam between a model and the engine that shards it. A model runs each of its units (usually one
/// transformer block) through the runner it was given; the plain one below just calls it. nn/ knows nothing
/// else of sharding.
class UnitRunner {
 public:
  using Body = std::function<Tensors(const Tensors&)>;
  UnitRunner() = default;
  UnitRunner(const UnitRunner&) = delete;
  UnitRunner& operator=(const UnitRunner&) = delete;
  virtual ~UnitRunner() = default;
  /// Called by a model at the start of every forward pass, before it uses parameters outside its units;
  /// `first_unit` is the one that will probably run first.
  virtual void begin(std::size_t first_unit);
  /// A call of a unit: units may run in any order, several times or not at all. The body uses parameters of
  /// its unit and of the root unit, no others, and what needs a gradient comes in through `inputs`: it may be
  /// run a second time, in the backward pass. Results are tensors that the body made, or inputs as they are.
  virtual Tensors run(std::size_t unit, const Tensors& inputs, const Body& body);
  /// Whether a forward pass communicates, so that all ranks have to run as many.
  [[nodiscard]] virtual bool is_collective() const noexcept;
};

}  // namespace cohort::nn
