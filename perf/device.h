#pragma once
#include <string>

#include <c10/core/Device.h>

namespace cohort::perf {

/// "cpu", or "cuda": the GPU of this rank. Throws UsageError when there is none.
c10::Device device_named(const std::string& name, int rank);

/// Waits until everything that was asked of the device is done; at once on the CPU.
void synchronise(c10::Device device);

}  // namespace cohort::perf
