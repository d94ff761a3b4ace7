#include "device.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "cohort/train/device.h"

namespace cohort::perf {

c10::Device device_named(const std::string& name, comm::Communicator& ranks) {
  return train::use_device(name == "cuda" ? train::Device::cuda : train::Device::cpu, ranks);
}

void synchronise(c10::Device device) {
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

}  // namespace cohort::perf
