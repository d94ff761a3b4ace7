#pragma once
#include <algorithm>
#include <cstdint>
#include <malloc.h>
#include <memory>

#include <c10/core/CPUAllocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

namespace cohort::testing {

/// The most memory of the heap that this process holds at one time while it counts, beyond what it held
/// before: looked at whenever LibTorch makes or frees a tensor in this thread. Of glibc.
class HeapPeak final : public c10::MemoryReportingInfoBase {
 public:
  /// While work() runs, in bytes.
  template <class Work>
  static std::int64_t of(const Work& work) {
    const auto peak = std::make_shared<HeapPeak>();
    const bool reported = FLAGS_caffe2_report_cpu_memory_usage;
    FLAGS_caffe2_report_cpu_memory_usage = true;
    {
      const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, peak);
      work();
    }
    FLAGS_caffe2_report_cpu_memory_usage = reported;
    return peak->most_ - peak->before_;
  }

  void reportMemoryUsage(void* /*pointer*/, std::int64_t /*size*/, std::size_t /*allocated*/,
                         std::size_t /*reserved*/, c10::Device /*device*/) override {
    most_ = std::max(most_, held());
  }
  [[nodiscard]] bool memoryProfilingEnabled() const override { return true; }

 private:
  static std::int64_t held() {
    const struct mallinfo2 info = ::mallinfo2();
    return static_cast<std::int64_t>(info.uordblks + info.hblkhd);
  }

  std::int64_t before_ = held(), most_ = before_;
};

}  // namespace cohort::testing
