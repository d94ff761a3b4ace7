#include "allocations.h"

#include <c10/core/CPUAllocator.h>

namespace cohort::perf {

// Without the flag, what other threads free (they know nothing of this object) would count as alive for ever.
void Allocations::start() {
  FLAGS_caffe2_report_cpu_memory_usage = true;
  counts_ = true;
}

void Allocations::stop() {
  counts_ = false;
  FLAGS_caffe2_report_cpu_memory_usage = false;
}

std::int64_t Allocations::take_peak() noexcept {
  return peak_.exchange(now_);
}

void Allocations::reportMemoryUsage(void* /*pointer*/, std::int64_t /*size*/, std::size_t allocated,
                                    std::size_t /*reserved*/, c10::Device device) {
  if (device.type() != device_.type()) return;
  const auto bytes = static_cast<std::int64_t>(allocated);
  now_ = bytes;
  std::int64_t before = peak_;
  while (bytes > before && !peak_.compare_exchange_weak(before, bytes)) {
  }
}

}  // namespace cohort::perf
