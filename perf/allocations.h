#pragma once
#include <atomic>
#include <cstdint>

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

namespace cohort::perf {

/// Bytes of tensors that are alive, as LibTorch's allocators count them; of one device. While it counts, an
/// allocation takes some microseconds more.
class Allocations final : public c10::MemoryReportingInfoBase {
 public:
  explicit Allocations(c10::Device device) : device_(device) {}

  /// Before the first tensor that is to be counted.
  void start();
  void stop();
  /// The most at one time since the last call.
  std::int64_t take_peak() noexcept;

  void reportMemoryUsage(void* pointer, std::int64_t size, std::size_t allocated, std::size_t reserved,
                         c10::Device device) override;
  [[nodiscard]] bool memoryProfilingEnabled() const override { return counts_; }

 private:
  c10::Device device_;
  std::atomic<bool> counts_{false};
  std::atomic<std::int64_t> now_{0}, peak_{0};
};

}  // namespace cohort::perf
