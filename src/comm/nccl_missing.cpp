// Stands in for nccl_transport.cpp in a build without CUDA.
#include <utility>

#include "cohort/core/error.h"

#include "comm/nccl_transport.h"

namespace cohort::comm {

struct NcclTransport::Impl {};

NcclTransport::NcclTransport(OperationQueue&, std::string name, c10::Device device) {
  throw UsageError({"this build of Cohort cannot send tensors of device " + device.str(),
                    "communicator '" + std::move(name) + "'",
                    "build it with the preset 'cuda', or set device: cpu"});
}
NcclTransport::~NcclTransport() = default;

Started NcclTransport::all_reduce(const at::Tensor&, Reduce) {
  return Started(nullptr);
}
Started NcclTransport::all_gather(const at::Tensor&, const at::Tensor&) {
  return Started(nullptr);
}
Started NcclTransport::reduce_scatter(const at::Tensor&, const at::Tensor&, Reduce) {
  return Started(nullptr);
}
Started NcclTransport::all_to_all(const at::Tensor&, const at::Tensor&, int) {
  return Started(nullptr);
}
Started NcclTransport::broadcast(const at::Tensor&, int) {
  return Started(nullptr);
}

}  // namespace cohort::comm
