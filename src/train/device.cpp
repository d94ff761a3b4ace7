#include "cohort/train/device.h"

#include <array>

#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>

#include "cohort/comm/mesh.h"
#include "cohort/core/error.h"

namespace cohort::train {
namespace {

std::int64_t visible_devices() {
  return at::hasCUDA() ? static_cast<std::int64_t>(at::getNumGPUs()) : 0;
}

// Of `size` ranks, `blind` see no device.
void check_devices(Device wanted, std::int64_t blind, int size) {
  if (blind == size && wanted == Device::cuda) {
    throw UsageError({"device is cuda, but there is no CUDA device or the program was built without CUDA",
                      "device",
                      "set device=cpu, or build with the cuda preset and run where a device is visible"});
  }
  if (blind > 0 && blind < size) {
    throw UsageError({fmt::format("{} of {} ranks see no CUDA device, the others do", blind, size), "device",
                      "give every rank a device (srun --gpus-per-node), or set device=cpu"});
  }
}

}  // namespace

std::span<const config::EnumName<Device>> enum_names(Device) {
  static constexpr std::array<config::EnumName<Device>, 3> names{
      {{Device::automatic, "auto"}, {Device::cpu, "cpu"}, {Device::cuda, "cuda"}}};
  return names;
}

at::Device use_device(Device wanted, comm::Communicator& ranks) {
  if (wanted == Device::cpu) return at::kCPU;
  const std::int64_t devices = visible_devices();
  const std::int64_t blind = ranks.sum(std::int64_t{devices == 0});
  comm::together(ranks, [&] { check_devices(wanted, blind, ranks.size()); });
  if (devices == 0) return at::kCPU;
  const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(comm::rank_on_node(ranks) % devices));
  c10::impl::VirtualGuardImpl(at::kCUDA).setDevice(device);
  // fp32 is fp32 in convolutions too, as it is in matrix products: cuDNN would round their inputs to 10 bits.
  at::globalContext().setAllowTF32CuDNN(false);
  return device;
}

}  // namespace cohort::train
