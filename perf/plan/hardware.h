#pragma once
#include <map>
#include <string>
#include <string_view>

namespace cohort::perf {

/// time = latency + factor * bytes / bandwidth, with the factor of nccl-tests: (n - 1) / n of the larger
/// buffer, twice that for an all-reduce.
struct MeasuredCollective {
  double latency = 0;    ///< s
  double bandwidth = 0;  ///< bytes/s
};

/// A device that a rank computes on. Rates are bytes/s and FLOP/s, times s, sizes bytes.
struct Processor {
  std::string name;
  double bf16 = 0, fp32 = 0;            ///< peak of matrix products
  double memory_bytes = 0, memory = 0;  ///< size; bandwidth
  double link = 0;                      ///< to other devices of the node, in one direction
  double product_part = 1, attention_part = 1, memory_part = 1;  ///< of the peaks that large kernels reach
  double launch = 0;                                             ///< that the host takes for a kernel
  double shortest = 0;  ///< that a kernel takes on the device, however small
  /// CPU: ranks of a node share these cores, and communication takes time of the core of its rank. 0: a GPU.
  int cores = 0;
  std::map<std::string, MeasuredCollective> collectives{};  ///< CPU: "all_gather" …; GPU: empty, NCCL's model

  [[nodiscard]] bool is_cpu() const noexcept { return cores > 0; }
};

struct Network {
  std::string name;
  double bandwidth = 0;  ///< bytes/s of an adapter, in one direction
  int adapters = 0;      ///< of a node; 0: one for each device
};

struct Hardware {
  std::map<std::string, Processor> processors;
  std::map<std::string, Network> networks;

  /// These throw UsageError naming the known ones ("did you mean").
  [[nodiscard]] const Processor& processor(const std::string& name) const;
  [[nodiscard]] const Network& network(const std::string& name) const;
};

/// perf/plan/hardware.yaml, which the program carries with it, and `file` on top (empty: none). Throws
/// UsageError naming the file and what is wrong in it.
Hardware read_hardware(const std::string& file);

/// `processor` as a file that read_hardware() takes.
std::string hardware_file(const Processor& processor);

}  // namespace cohort::perf
