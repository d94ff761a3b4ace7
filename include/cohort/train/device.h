#pragma once
#include <span>

#include <c10/core/Device.h>

#include "cohort/comm/communicator.h"
#include "cohort/config/field.h"

namespace cohort::train {

/// `automatic`: CUDA where every rank sees a device, else the CPU.
enum class Device { automatic, cpu, cuda };
std::span<const config::EnumName<Device>> enum_names(Device);

/// Collective. Where this rank computes, made the current device of the calling thread: with CUDA, the ranks
/// of a node take the devices that they see in turn. Throws UsageError on every rank when `wanted` is cuda
/// and a rank sees no device, or when some ranks see one and others do not.
at::Device use_device(Device wanted, comm::Communicator& ranks);

}  // namespace cohort::train
