#pragma once
#include <string>

#include <c10/core/Device.h>

#include "cohort/comm/communicator.h"

namespace cohort::perf {

/// Collective. "cpu", or "cuda": the GPU of this rank. Throws UsageError when there is none.
c10::Device device_named(const std::string& name, comm::Communicator& ranks);

/// Waits until everything that was asked of the device is done; at once on the CPU.
void synchronise(c10::Device device);

}  // namespace cohort::perf
