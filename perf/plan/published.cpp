#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "plan/plan.h"

namespace cohort::perf {
namespace {

/// A decoder of text. `gated`: with an MLP of three matrices and an output layer of its own (Llama 3, arXiv
/// 2407.21783, table 3); else GPT's, whose output layer is the embedding (MPT,
/// llm-foundry/scripts/train/yamls).
struct Decoder {
  std::int64_t width, depth, heads, key_value_width, hidden, vocabulary;
  bool gated;
};
constexpr Decoder kLlama8B{4096, 32, 32, 1024, 14336, 128256, true};

constexpr Decoder mpt(std::int64_t width, std::int64_t depth) {
  return {width, depth, width / 128, width, 4 * width, 50368, false};
}

/// What is computed again in the backward pass.
enum class Again { nothing, every_second_block, every_second_product };

struct PublishedCase {
  const char* source;
  const char* what;
  const char* processor;
  const char* network;
  double memory_gb_s;  ///< of the devices used, where they are not those of the table; 0: they are
  int nodes;
  Decoder model;
  double sequences, tokens;  ///< of a rank in a micro-batch; of a sequence
  int micro_batches;
  Again again;
  double tokens_per_second;  ///< of a device, as published
};

PublishedCase llama(const char* what, const char* processor, int nodes, double sequences, Again again,
                    double tokens_per_second) {
  const bool is_a100 = std::string_view(processor) == "a100";
  return {"torchtitan",
          what,
          processor,
          is_a100 ? "infiniband-hdr200" : "infiniband-ndr400",
          is_a100 ? 0.0 : 2400.0,
          nodes,
          kLlama8B,
          sequences,
          8192,
          1,
          again,
          tokens_per_second};
}

PublishedCase foundry(const char* what, int nodes, const Decoder& model, double sequences, int micro_batches,
                      double tokens_per_second) {
  return {"llm-foundry", what,          "h100",         "infiniband-ndr400", 0, nodes, model, sequences,
          2048,          micro_batches, Again::nothing, tokens_per_second};
}

/// torchtitan: https://github.com/pytorch/torchtitan, docs/performance.md (041336434) and
/// benchmarks/llama3_h100_202412_torchtitan.md (31a17bfdb): Llama 3 8B, FSDP2 in bf16 with reductions in
/// fp32, 8,192 tokens a sequence; the H100 there have HBM2e of 2.4 TB/s and a limit of 500 W. llm-foundry:
/// https://github.com/mosaicml/llm-foundry, scripts/train/benchmarking/README.md (061f2c7ce), table "H100
/// 80GB BF16", all rows of 2,048 tokens without activation checkpointing from 1b on: FSDP FULL_SHARD in bf16.
std::vector<PublishedCase> cases() {
  const Decoder b1 = mpt(2048, 24), b3 = mpt(2560, 32), b7 = mpt(4096, 32), b13 = mpt(5120, 40);
  return {llama("8B, 64 A100, eager", "a100", 8, 1, Again::every_second_block, 2904),
          llama("8B, 8 H100, eager", "h100", 1, 2, Again::every_second_product, 5762),
          llama("8B, 8 H100, compiled", "h100", 1, 2, Again::every_second_product, 6667),
          llama("8B, 128 H100, eager", "h100", 16, 2, Again::every_second_product, 5605),
          llama("8B, 128 H100, compiled", "h100", 16, 2, Again::every_second_product, 6514),
          foundry("1b, 8 H100", 1, b1, 14, 1, 45455),
          foundry("1b, 16 H100", 2, b1, 20, 1, 46037),
          foundry("1b, 32 H100", 4, b1, 20, 1, 45130),
          foundry("1b, 64 H100", 8, b1, 20, 1, 44402),
          foundry("3b, 16 H100", 2, b3, 10, 3, 24142),
          foundry("3b, 32 H100", 4, b3, 6, 3, 23021),
          foundry("3b, 64 H100", 8, b3, 6, 3, 22525),
          foundry("7b, 8 H100", 1, b7, 6, 1, 10643),
          foundry("13b, 8 H100", 1, b13, 2, 1, 4792),
          foundry("13b, 16 H100", 2, b13, 2, 1, 4767),
          foundry("13b, 32 H100", 4, b13, 2, 1, 4811),
          foundry("13b, 64 H100", 8, b13, 2, 1, 4800)};
}

PlannedParameter matrix(std::int64_t values) {
  return {values, 2};
}

/// A workload of the decoder's sizes: what the schedule needs.
Workload workload_of(const Decoder& model) {
  Workload workload;
  workload.config.precision = train::Precision::bf16;
  workload.config.device = train::Device::cuda;
  workload.config.sharding = {.strategy = shard::Strategy::full, .gather = shard::WireType::bf16};
  workload.config.train.reduce_every_micro_batch = true;
  workload.model.patch_size = 1;
  workload.views = {{3, 1, 1}};
  PlannedPart part{"model", true, {}};
  for (std::int64_t l = 0; l < model.depth; ++l) {
    part.units.push_back({matrix(model.width * model.width), matrix(model.width * model.key_value_width),
                          matrix(model.width * model.key_value_width), matrix(model.width * model.width),
                          matrix(model.width * model.hidden), matrix(model.hidden * model.width)});
    if (model.gated) part.units.back().push_back(matrix(model.width * model.hidden));
  }
  part.units.push_back({matrix(model.vocabulary * model.width * (model.gated ? 2 : 1))});
  workload.parts.push_back(std::move(part));
  return workload;
}

/// Adds what is computed again to the kernels of a block.
void compute_again(std::vector<Kernel>& kernels, int block, Again again) {
  std::vector<Kernel> more;
  int products = 0;
  for (const Kernel& kernel : kernels) {
    if (kernel.pass != Pass::forward) continue;
    const bool of_block = again == Again::every_second_block && block % 2 == 0;
    const bool of_kind = again == Again::every_second_product && kernel.kind != KernelKind::attention &&
                         (kernel.kind != KernelKind::product || products++ % 2 == 1);
    if (!of_block && !of_kind) continue;
    more.push_back(kernel);
    more.back().pass = Pass::recompute;
  }
  kernels.insert(kernels.end(), more.begin(), more.end());
}

/// The output layer and its loss, in fp32 as there.
std::vector<Kernel> output_kernels(const Decoder& model, double rows) {
  const auto width = static_cast<double>(model.width), vocabulary = static_cast<double>(model.vocabulary);
  const double flops = 2 * rows * width * vocabulary,
               bytes = 2 * (rows * (width + vocabulary) + width * vocabulary);
  const double logits = rows * vocabulary * 4;
  return {{"model", "output", kRoot, Pass::forward, KernelKind::product, flops, bytes, 0, 1},
          {"model", "output", kRoot, Pass::backward, KernelKind::product, 2 * flops, 2 * bytes, 0, 2},
          {"model", "loss", kRoot, Pass::forward, KernelKind::memory, 0, 3 * logits, 0, 3},
          {"model", "loss", kRoot, Pass::backward, KernelKind::memory, 0, 3 * logits, 0, 3}};
}

double predicted_seconds(const PublishedCase& published, const Cluster& cluster) {
  const Workload workload = workload_of(published.model);
  const KernelOptions options{.bf16 = true, .bf16_weights = true};
  const auto seconds = [&](const Instruction& instruction) {
    std::vector<Kernel> kernels;
    if (instruction.pass == Pass::optimizer) {
      kernels = update_kernels({.trained_values = workload.parts.front().values() / cluster.ranks()});
    } else if (instruction.unit == kRoot) {
      kernels = output_kernels(published.model, published.sequences * published.tokens);
    } else {
      const BlockWork block{.width = published.model.width,
                            .heads = published.model.heads,
                            .hidden = published.model.hidden,
                            .key_value_width = published.model.key_value_width,
                            .gated = published.model.gated,
                            .causal = true,
                            .unit = instruction.unit};
      kernels = block_kernels("model", block, published.sequences, published.tokens, true, options);
      compute_again(kernels, instruction.unit, published.again);
    }
    std::erase_if(kernels, [&](const Kernel& kernel) {
      const Pass pass = kernel.pass == Pass::recompute ? Pass::backward : kernel.pass;
      return pass != instruction.pass;
    });
    return kernel_seconds(kernels, cluster.processor, true);
  };
  const Layout layout{cluster.ranks(), cluster.ranks()};
  return simulate(make_schedule(workload, layout, published.micro_batches), cluster, layout, seconds).seconds;
}

}  // namespace

std::vector<PublishedComparison> compare_published() {
  const Hardware hardware = read_hardware("");
  std::vector<PublishedComparison> comparisons;
  for (const PublishedCase& published : cases()) {
    Cluster cluster{hardware.processor(published.processor), hardware.network(published.network),
                    published.nodes, 8};
    if (published.memory_gb_s > 0) cluster.processor.memory = published.memory_gb_s * 1e9;
    const double tokens = published.micro_batches * published.sequences * published.tokens;
    comparisons.push_back({published.source, published.what, published.tokens_per_second,
                           tokens / predicted_seconds(published, cluster)});
  }
  return comparisons;
}

}  // namespace cohort::perf
