#include "plan/prediction.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace cohort::perf {
namespace {

constexpr double kFp32Bytes = 4, kMib = 1 << 20;
// What a process has without a model: docs/performance.md ("empty"); on a GPU the context of CUDA, workspaces
// of cuBLAS and buffers of NCCL.
constexpr double kEmptyCpu = 130 * kMib, kEmptyGpu = 1.5 * 1024 * kMib;
// Allocators give memory in blocks that do not fit together.
constexpr double kUnusable = 0.05;

using UnitKey = std::tuple<std::size_t, int, Pass>;  // part, unit, pass

std::size_t part_number(const Workload& workload, const std::string& name) {
  for (std::size_t p = 0; p < workload.parts.size(); ++p) {
    if (workload.parts[p].name == name) return p;
  }
  return 0;
}

double per_rank(double values, const Layout& layout) {
  return values / layout.shards;
}

UpdateShape update_shape(const Workload& workload, const Layout& layout) {
  UpdateShape update;
  for (const PlannedPart& part : workload.parts)
    (part.trained ? update.trained_values : update.followed_values) += per_rank(part.values(), layout);
  update.state_values = shard::states_of_optimizer(workload.config.optimizer.name);
  update.clips = workload.config.optimizer.clip_norm > 0;
  return update;
}

std::map<UnitKey, double> seconds_by_unit(const Workload& workload, const Layout& layout, std::int64_t images,
                                          const Processor& processor) {
  std::map<UnitKey, std::vector<Kernel>> kernels;
  for (const Kernel& kernel : pass_kernels(step_shape(workload, images))) {
    const Pass pass = kernel.pass == Pass::recompute ? Pass::backward : kernel.pass;
    kernels[{part_number(workload, kernel.part), kernel.unit, pass}].push_back(kernel);
  }
  for (const Kernel& kernel : update_kernels(update_shape(workload, layout)))
    kernels[{0, kRoot, kernel.pass}].push_back(kernel);
  std::map<UnitKey, double> seconds;
  const bool bf16 = workload.config.precision == train::Precision::bf16;
  for (const auto& [key, list] : kernels) seconds[key] = kernel_seconds(list, processor, bf16);
  return seconds;
}

/// Units' flat parameters of a part, in bytes of whole values as they are computed with.
std::vector<double> whole_bytes(const Workload& workload, const PlannedPart& part, const Layout& layout) {
  std::vector<double> bytes;
  for (std::size_t unit = 0; unit < part.units.size(); ++unit) {
    double sum = 0;
    for (const PlannedFlat& flat :
         flats_of(part.units[unit], unit + 1 == part.units.size(), workload.config.sharding, layout.ranks))
      sum += static_cast<double>(flat.length) * (flat.narrow ? 2 : kFp32Bytes);
    bytes.push_back(sum);
  }
  return bytes;
}

double padded_values(const Workload& workload, const PlannedPart& part, const Layout& layout) {
  double sum = 0;
  for (std::size_t unit = 0; unit < part.units.size(); ++unit) {
    for (const PlannedFlat& flat :
         flats_of(part.units[unit], unit + 1 == part.units.size(), workload.config.sharding, layout.ranks))
      sum += static_cast<double>(flat.length);
  }
  return sum;
}

/// The root and the two largest blocks: what is gathered at one time.
double gathered_bytes(std::vector<double> whole) {
  const double root = whole.back();
  whole.pop_back();
  std::sort(whole.rbegin(), whole.rend());
  whole.resize(std::min<std::size_t>(whole.size(), 2));
  double sum = root;
  for (const double bytes : whole) sum += bytes;
  return sum;
}

double sum_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum;
}

struct ActivationBytes {
  double saved = 0, working = 0;
};

/// Saved until the backward pass; and what the largest operation works on, or under checkpointing all of the
/// block that is computed again.
ActivationBytes activation_bytes(const StepShape& shape) {
  ActivationBytes bytes;
  std::map<std::pair<std::string, int>, double> again;
  StepShape plain = shape;
  plain.options.recomputes = false;
  for (const Kernel& kernel : pass_kernels(shape)) {
    bytes.saved += kernel.saved;
    const bool in_place = kernel.kind == KernelKind::memory && kernel.pass == Pass::backward;
    if (!in_place) bytes.working = std::max(bytes.working, kernel.bytes);
  }
  if (!shape.options.recomputes) return bytes;
  for (const Kernel& kernel : pass_kernels(plain)) {
    if (kernel.unit != kRoot) again[{kernel.part, kernel.unit}] += kernel.saved;
  }
  double block = 0;
  for (const auto& entry : again) block = std::max(block, entry.second);
  bytes.working += block;
  return bytes;
}

}  // namespace

double kernel_seconds(const std::vector<Kernel>& kernels, const Processor& processor, bool bf16) {
  double device = 0, launches = 0;
  const double peak = bf16 ? processor.bf16 : processor.fp32;
  for (const Kernel& kernel : kernels) {
    const double part =
        kernel.kind == KernelKind::attention ? processor.attention_part : processor.product_part;
    const double compute = kernel.flops / (peak * part),
                 memory = kernel.bytes / (processor.memory * processor.memory_part);
    device += std::max({compute, memory, kernel.calls * processor.shortest});
    launches += kernel.calls * processor.launch;
  }
  return std::max(device, launches);
}

Workload under(const Workload& workload, const Choice& choice) {
  Workload chosen = workload;
  chosen.config.sharding.strategy = choice.strategy;
  chosen.config.sharding.shard_size = choice.shards;
  chosen.config.sharding.activation_checkpointing = choice.checkpointing;
  chosen.config.train.micro_batches = choice.micro_batches;
  return chosen;
}

std::vector<MemoryPart> memory_parts(const Workload& workload, const Layout& layout, const Choice& choice,
                                     std::int64_t images, const Processor& processor) {
  const bool stays = layout.shards == 1 || choice.strategy == shard::Strategy::optimizer;
  const bool narrow_gather = workload.config.sharding.gather == shard::WireType::bf16,
             narrow_reduce = workload.config.sharding.reduce == shard::WireType::bf16;
  double parameters = 0, gathered = 0, teacher = 0, gradients = 0, on_their_way = 0, state = 0;
  for (const PlannedPart& part : workload.parts) {
    const std::vector<double> whole = whole_bytes(workload, part, layout);
    const double values = padded_values(workload, part, layout), shard = kFp32Bytes * values / layout.shards;
    // The fp32 slice is part of the whole where that stays and is fp32.
    const double kept = stays ? sum_of(whole) + (narrow_gather ? shard : 0) : shard;
    (part.trained ? parameters : teacher) += kept;
    if (!stays) gathered += gathered_bytes(whole);
    if (!part.trained) continue;
    gradients = shard;
    state = shard * shard::states_of_optimizer(workload.config.optimizer.name);
    const bool in_place = layout.shards == 1 && !narrow_reduce && !workload.config.reproducible &&
                          !workload.config.train.reduce_every_micro_batch;
    const bool all_wait = choice.micro_batches > 1 && !workload.config.train.reduce_every_micro_batch;
    const double width = narrow_reduce ? 0.5 : 1.0;
    if (!in_place) on_their_way = width * (all_wait ? kFp32Bytes * values : gathered_bytes(whole));
  }
  const std::int64_t pass_images = std::max<std::int64_t>(images / choice.micro_batches, 1);
  const ActivationBytes activations = activation_bytes(step_shape(workload, pass_images));
  double view_values = 0;
  for (const data::ViewShape& view : workload.views) view_values += static_cast<double>(view.values());
  std::vector<MemoryPart> parts{{"parameters", parameters},
                                {"teacher", teacher},
                                {"gathered units", gathered},
                                {"gradients", gradients},
                                {"gradients on their way", on_their_way},
                                {"optimizer state", state},
                                {"saved activations", activations.saved},
                                {"working set", activations.working},
                                {"batch", kFp32Bytes * view_values * static_cast<double>(images)}};
  double sum = 0;
  for (const MemoryPart& part : parts) sum += part.bytes;
  parts.push_back(
      {"allocator and libraries", (processor.is_cpu() ? kEmptyCpu : kEmptyGpu) + kUnusable * sum});
  std::erase_if(parts, [](const MemoryPart& part) { return part.bytes == 0; });
  return parts;
}

Prediction predict(const Workload& workload, const Cluster& cluster, const Choice& choice,
                   std::int64_t images) {
  const Workload chosen = under(workload, choice);
  const Layout layout{cluster.ranks(), choice.shards};
  Prediction prediction;
  prediction.choice = choice;
  prediction.images = images;
  prediction.memory = memory_parts(chosen, layout, choice, images, cluster.processor);
  for (const MemoryPart& part : prediction.memory) prediction.memory_bytes += part.bytes;
  // Ranks of a node without GPUs share its memory.
  prediction.memory_limit =
      cluster.processor.memory_bytes / (cluster.processor.is_cpu() ? cluster.per_node : 1);
  const std::int64_t pass_images = std::max<std::int64_t>(images / choice.micro_batches, 1);
  const auto seconds = seconds_by_unit(chosen, layout, pass_images, cluster.processor);
  const auto compute = [&](const Instruction& instruction) {
    const auto found = seconds.find({instruction.part, instruction.unit, instruction.pass});
    return found == seconds.end() ? 0.0 : instruction.share * found->second;
  };
  prediction.step = simulate(make_schedule(chosen, layout, choice.micro_batches), cluster, layout, compute);
  prediction.flops = choice.micro_batches * model_flops(step_shape(chosen, pass_images));
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
