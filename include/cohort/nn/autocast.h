#pragma once
#include <c10/core/DeviceType.h>

namespace cohort::nn {

/// While it lives, matrix products of this thread run in bf16 on `device` (LibTorch's autocast); weights stay
/// fp32. Forward passes only: the backward pass runs in the types that the forward pass chose. Not movable,
/// not nested.
class Bf16Scope {
 public:
  /// `enabled` false: does nothing.
  Bf16Scope(bool enabled, c10::DeviceType device);
  Bf16Scope(const Bf16Scope&) = delete;
  Bf16Scope& operator=(const Bf16Scope&) = delete;
  ~Bf16Scope();

 private:
  bool enabled_;
  c10::DeviceType device_;
};

}  // namespace cohort::nn
