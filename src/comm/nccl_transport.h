#pragma once
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"

namespace cohort::comm {

class OperationQueue;

/// The collectives of CUDA tensors: NCCL on a stream of its own, ordered with the current stream by events.
class NcclTransport {
 public:
  /// Collective over the ranks of `control`, which carries NCCL's unique id. One device for good: a rank uses
  /// one. Throws UsageError in a build without CUDA, RankError when NCCL cannot connect the ranks.
  NcclTransport(OperationQueue& control, std::string name, c10::Device device);
  NcclTransport(const NcclTransport&) = delete;
  NcclTransport& operator=(const NcclTransport&) = delete;
  ~NcclTransport();

  Started all_reduce(const at::Tensor& values, Reduce op);
  Started all_gather(const at::Tensor& output, const at::Tensor& input);
  Started reduce_scatter(const at::Tensor& output, const at::Tensor& input, Reduce op);
  Started all_to_all(const at::Tensor& output, const at::Tensor& input, int size);
  Started broadcast(const at::Tensor& values, int root);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the works under way
};

}  // namespace cohort::comm
