#include "device.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "cohort/train/model.h"

namespace cohort::perf {

c10::Device device_named(const std::string& name, int rank) {
  train::RunConfig config;
  config.device = name == "cuda" ? train::Device::cuda : train::Device::cpu;
  return train::device_of(config, rank);
}

void synchronise(c10::Device device) {
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

}  // namespace cohort::perf
