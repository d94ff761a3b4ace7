#pragma once
#include <cstdint>

#include <torch/nn/module.h>

namespace cohort::perf {

/// LibTorch's device "meta", whose tensors have shapes and no values, made fit for a whole training step:
/// what it cannot tell the shape of is run on zeros on the host, what would read a value gets 1 (a question:
/// no), and a copy to the host gets zeros. For this process, from the first call on. Not thread-safe.
void prepare_meta_device();

/// While it lives, networks that this thread makes get no first values, which take time and memory. Not
/// movable, not nested.
class NoFirstValues {
 public:
  NoFirstValues();
  NoFirstValues(const NoFirstValues&) = delete;
  NoFirstValues& operator=(const NoFirstValues&) = delete;
  ~NoFirstValues();
};

/// Moves parameters and buffers, which Module::to() does not do between the host and this device. Parameters
/// keep no memory (nn::discard_values()).
void move_to_meta(torch::nn::Module& module);

/// Bytes of tensors on the device "meta", as a real device would hold them. After prepare_meta_device().
struct MetaMemory {
  static std::int64_t live() noexcept;
  /// The most since the last call of reset_peak().
  static std::int64_t peak() noexcept;
  static void reset_peak() noexcept;
};

/// While it lives, products of this thread on the device "meta" are of bf16, as nn::Bf16Scope has them on
/// others. Not movable, not nested.
class MetaBf16Scope {
 public:
  explicit MetaBf16Scope(bool enabled);
  MetaBf16Scope(const MetaBf16Scope&) = delete;
  MetaBf16Scope& operator=(const MetaBf16Scope&) = delete;
  ~MetaBf16Scope();

 private:
  bool enabled_;
};

}  // namespace cohort::perf
