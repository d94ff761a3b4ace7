#include "plan/prediction.h"

#include <algorithm>
#include <cmath>

#include "cohort/train/model.h"

namespace cohort::perf {
namespace {

constexpr double kMib = 1 << 20;
// What a process has without a model: docs/performance.md ("empty"); on a GPU the context of CUDA, workspaces
// of cuBLAS and buffers of NCCL.
constexpr double kEmptyCpu = 130 * kMib, kEmptyGpu = 1.5 * 1024 * kMib;
// Allocators give memory in blocks that do not fit together.
constexpr double kUnusable = 0.05;

std::vector<MemoryPart> memory_parts(const RehearsedMemory& memory, const Processor& processor) {
  const double between = memory.parameters + memory.teacher + memory.gradients + memory.state + memory.batch;
  std::vector<MemoryPart> parts{
      {"parameters", memory.parameters},
      {"teacher", memory.teacher},
      {"gradients", memory.gradients},
      {"optimizer state", memory.state},
      {"batch", memory.batch},
      {"activations and gathered units", memory.activations},
      {"working set", memory.peak - between - memory.activations},
      {"allocator and libraries", (processor.is_cpu() ? kEmptyCpu : kEmptyGpu) + kUnusable * memory.peak}};
  std::erase_if(parts, [](const MemoryPart& part) { return part.bytes <= 0; });
  return parts;
}

}  // namespace

double operator_seconds(const std::vector<Operator>& operators, const Processor& processor, bool bf16) {
  double device = 0;
  const double peak = bf16 ? processor.bf16 : processor.fp32;
  for (const Operator& op : operators) {
    const double part =
        op.kind == OperatorKind::attention ? processor.attention_part : processor.product_part;
    const double compute = op.flops / (peak * part),
                 memory = op.bytes / (processor.memory * processor.memory_part);
    device += std::max({compute, memory, processor.shortest});
  }
  return std::max(device, static_cast<double>(operators.size()) * processor.launch);
}

train::RunConfig under(const train::RunConfig& config, const Choice& choice) {
  train::RunConfig chosen = config;
  chosen.sharding.strategy = choice.strategy;
  chosen.sharding.activation_checkpointing = choice.checkpointing;
  chosen.train.micro_batches = choice.micro_batches;
  return chosen;
}

Rehearsal rehearse(const Workload& workload, const Layout& layout, const Choice& choice,
                   std::int64_t images) {
  const train::RunConfig config = under(workload.config, choice);
  return rehearse(config, *workload.method, train::signature_of(config, workload.description),
                  blank_batch(config, workload.description, images, choice.micro_batches), layout);
}

double model_flops(const Workload& workload, std::int64_t images) {
  return rehearse(workload, {}, {}, images).model_flops();
}

Prediction predict(const Workload& workload, const Cluster& cluster, const Choice& choice,
                   std::int64_t images) {
  const Layout layout{cluster.ranks(), choice.shards};
  const Rehearsal rehearsal = rehearse(workload, layout, choice, images);
  Prediction prediction;
  prediction.choice = choice;
  prediction.images = images;
  prediction.memory = memory_parts(rehearsal.memory, cluster.processor);
  for (const MemoryPart& part : prediction.memory) prediction.memory_bytes += part.bytes;
  // Ranks of a node without GPUs share its memory.
  prediction.memory_limit =
      cluster.processor.memory_bytes / (cluster.processor.is_cpu() ? cluster.per_node : 1);
  const bool bf16 = workload.config.precision == train::Precision::bf16;
  prediction.step = simulate(rehearsal, cluster, layout, [&](const Action& action) {
    return operator_seconds(action.operators, cluster.processor, bf16);
  });
  prediction.flops = choice.checkpointing ? model_flops(workload, images) : rehearsal.model_flops();
  return prediction;
}

double utilization(const Prediction& prediction, const Processor& processor, bool bf16) {
  return prediction.flops / prediction.step.seconds / (bf16 ? processor.bf16 : processor.fp32);
}

double young_interval(double cost, double mean_time) {
  return std::sqrt(2 * cost * mean_time);
}

double daly_interval(double cost, double mean_time) {
  if (cost >= 2 * mean_time) return mean_time;
  const double ratio = cost / (2 * mean_time);
  return young_interval(cost, mean_time) * (1 + std::sqrt(ratio) / 3 + ratio / 9) - cost;
}

}  // namespace cohort::perf
