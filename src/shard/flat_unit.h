#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/shard/sharded_model.h"

namespace cohort::shard {

struct NamedParameter {
  std::string name;
  at::Tensor tensor;
};

/// The trained parameters of one unit in one flat value buffer and one flat gradient buffer. From
/// construction on the parameters and their .grad are views of the buffers, so that autograd adds straight
/// into the flat gradient.
class FlatUnit {
 public:
  /// `parameters`: at least one, f32, all on one device.
  explicit FlatUnit(std::vector<NamedParameter> parameters);

  /// This unit as the optimizer sees it: the whole buffers.
  [[nodiscard]] FlatShard shard() const;
  [[nodiscard]] const std::vector<NamedParameter>& parameters() const noexcept { return parameters_; }
  [[nodiscard]] const at::Tensor& value() const noexcept { return value_; }
  [[nodiscard]] const at::Tensor& gradient() const noexcept { return gradient_; }
  /// Throws Bug if somebody replaced a parameter's storage or its .grad: the flat gradient would then miss
  /// it.
  void check_views() const;

 private:
  void lay_out();
  void take_over();

  std::vector<NamedParameter> parameters_;  // in the order of the slots
  std::vector<ParameterSlot> slots_;
  std::int64_t decayed_ = 0, size_ = 0;
  at::Tensor value_, gradient_;
};

}  // namespace cohort::shard
