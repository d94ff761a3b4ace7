#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cohort::shard {

/// Memory that gathered parameters and whole gradients take turns in. On the CPU a block that its user drops
/// waits for the next one of its size: fresh pages from the system cost as much as filling them. CUDA has a
/// caching allocator of its own. Any thread may drop a block: the communication thread often is the last
/// user.
class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  explicit BufferPool(c10::Device device) noexcept : device_(device) {}
  /// `bytes` bytes of undefined content; they return here when the result is destroyed.
  at::DataPtr take(std::size_t bytes);
  /// [count], undefined values; its memory returns here with the last reference.
  at::Tensor tensor(std::int64_t count, at::ScalarType type);

 private:
  struct Lease;
  c10::Device device_;
  std::mutex mutex_;  // guards free_
  std::vector<std::pair<std::size_t, at::DataPtr>> free_;
};

}  // namespace cohort::shard
