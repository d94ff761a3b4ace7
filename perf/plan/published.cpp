#include <algorithm>
#include <iterator>
#include <memory>
#include <string_view>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include "cohort/nn/unit_model.h"

#include "plan/meta_device.h"
#include "plan/plan.h"

namespace cohort::perf {
namespace {

/// A decoder of text. `gated`: with an MLP of three matrices and an output layer of its own (Llama 3, arXiv
/// 2407.21783, table 3); else GPT's, whose output layer is the embedding (MPT,
/// llm-foundry/scripts/train/yamls).
struct Decoder {
  std::int64_t width, depth, heads, key_value_width, hidden, vocabulary;
  bool gated;
  [[nodiscard]] std::int64_t key_heads() const noexcept { return heads * key_value_width / width; }
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

at::Tensor matrix(torch::nn::Module& of, const char* name, std::int64_t rows, std::int64_t columns) {
  return of.register_parameter(name, at::empty({rows, columns}, at::TensorOptions(at::kMeta)));
}

at::Tensor normalised(const at::Tensor& x) {
  return at::layer_norm(x, x.size(-1));
}

struct DecoderBlock : torch::nn::Module {
  explicit DecoderBlock(const Decoder& shape) : heads(shape.heads), key_heads(shape.key_heads()) {
    query = matrix(*this, "query", shape.width, shape.width);
    key = matrix(*this, "key", shape.key_value_width, shape.width);
    value = matrix(*this, "value", shape.key_value_width, shape.width);
    project = matrix(*this, "project", shape.width, shape.width);
    first = matrix(*this, "first", shape.hidden, shape.width);
    second = matrix(*this, "second", shape.width, shape.hidden);
    if (shape.gated) gate = matrix(*this, "gate", shape.hidden, shape.width);
  }
  [[nodiscard]] at::Tensor forward(const at::Tensor& x) const {
    const at::Tensor in = normalised(x), sum = x + at::linear(attended(in), project),
                     middle = normalised(sum);
    const at::Tensor hidden = at::linear(middle, first);
    const at::Tensor active = gate.defined() ? at::silu(at::linear(middle, gate)) * hidden : at::gelu(hidden);
    return sum + at::linear(active, second);
  }
  [[nodiscard]] at::Tensor attended(const at::Tensor& x) const {
    const auto divided = [&](const at::Tensor& of, std::int64_t parts) {
      return at::linear(x, of).unflatten(-1, {parts, -1}).transpose(1, 2);
    };
    return at::scaled_dot_product_attention(divided(query, heads), divided(key, key_heads),
                                            divided(value, key_heads), {}, 0, /*is_causal=*/true, {}, true)
        .transpose(1, 2)
        .flatten(2);
  }

  std::int64_t heads, key_heads;
  at::Tensor query, key, value, project, first, second, gate;
};

class DecoderModel final : public nn::UnitModel {
 public:
  explicit DecoderModel(const Decoder& shape) {
    for (std::int64_t l = 0; l < shape.depth; ++l) {
      blocks_.push_back(register_module(fmt::format("block{}", l), std::make_shared<DecoderBlock>(shape)));
      static_cast<void>(add_unit({blocks_.back()}));
    }
    output_ = matrix(*this, "output", shape.vocabulary, shape.width);
    if (shape.gated) static_cast<void>(matrix(*this, "embedding", shape.vocabulary, shape.width));
  }
  /// embedded [B, T, D] -> [B * T, vocabulary]
  [[nodiscard]] at::Tensor forward(at::Tensor x) const {
    begin();
    for (std::size_t l = 0; l < blocks_.size(); ++l)
      x = run(l, x, [block = blocks_[l]](const at::Tensor& in) { return block->forward(in); });
    return at::linear(normalised(x).flatten(0, 1), output_);
  }

 private:
  std::vector<std::shared_ptr<DecoderBlock>> blocks_;
  at::Tensor output_;
};

/// Foretells the next token, with the loss in fp32.
class NextToken final : public method::Method {
 public:
  explicit NextToken(const Decoder& shape) : model_(std::make_shared<DecoderModel>(shape)) {}
  std::vector<method::Part> parts() override { return {{.name = "model", .model = model_}}; }
  std::vector<method::NamedEncoder> encoders() override { return {}; }
  at::Tensor loss(const data::Batch& batch, const method::Step& /*step*/,
                  method::Metrics& /*metrics*/) override {
    const at::Tensor logits = model_->forward(batch.views.front()).to(at::kFloat);
    return at::cross_entropy_loss(logits, at::empty(logits.size(0), logits.options().dtype(at::kLong)));
  }

 private:
  std::shared_ptr<DecoderModel> model_;
};

RehearsedBatch batch_of(const PublishedCase& published) {
  const auto sequences = static_cast<std::int64_t>(published.sequences) * published.micro_batches;
  RehearsedBatch batch;
  batch.groups = batch.passes = published.micro_batches;
  batch.host.sample = at::arange(sequences);
  batch.host.group = batch.host.sample.div(sequences / batch.groups, "floor");
  batch.host.context = at::empty({sequences, 0}, at::kLong);
  batch.host.views = {
      at::empty({sequences, static_cast<std::int64_t>(published.tokens), published.model.width},
                at::TensorOptions(at::kMeta))};
  batch.on_device = batch.host;
  return batch;
}

Rehearsal rehearsal_of(const PublishedCase& published, const Layout& layout) {
  train::RunConfig config;
  config.precision = train::Precision::bf16;
  config.sharding = {.strategy = shard::Strategy::full, .gather = shard::WireType::bf16};
  config.train.reduce_every_micro_batch = true;
  config.optimizer.clip_norm = 1;
  prepare_meta_device();
  NextToken method(published.model);
  return rehearse(config, method, {}, batch_of(published), layout);
}

/// Operators of a pass, those alone that `counts`.
double seconds_of(const Rehearsal& rehearsal, const Processor& processor, Pass pass,
                  bool (*counts)(const Operator& op)) {
  double sum = 0;
  for (const Action& action : rehearsal.actions) {
    if (action.pass != pass) continue;
    std::vector<Operator> counted;
    std::ranges::copy_if(action.operators, std::back_inserter(counted), counts);
    sum += operator_seconds(counted, processor, true);
  }
  return sum;
}

/// How much longer the backward pass is where half of the forward pass is computed again: attention as well
/// where whole blocks are.
double longer(const Rehearsal& rehearsal, const Processor& processor, Again again) {
  if (again == Again::nothing) return 1;
  const auto all = [](const Operator& /*op*/) { return true; };
  const auto no_attention = [](const Operator& op) { return op.kind != OperatorKind::attention; };
  const double half = seconds_of(rehearsal, processor, Pass::forward,
                                 again == Again::every_second_block ? +all : +no_attention) /
                      2;
  return 1 + half / seconds_of(rehearsal, processor, Pass::backward, +all);
}

double predicted_seconds(const PublishedCase& published, const Cluster& cluster) {
  const Layout layout{cluster.ranks(), cluster.ranks()};
  const Rehearsal rehearsal = rehearsal_of(published, layout);
  const double factor = longer(rehearsal, cluster.processor, published.again);
  const auto seconds = [&](const Action& action) {
    return operator_seconds(action.operators, cluster.processor, true) *
           (action.pass == Pass::backward ? factor : 1);
  };
  return simulate(rehearsal, cluster, layout, seconds).seconds;
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
