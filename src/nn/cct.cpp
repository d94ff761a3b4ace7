#include "cohort/nn/cct.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/nn/dropout.h"
#include "cohort/nn/initialise.h"

#include "adapt.h"
#include "block.h"
#include "context_tokens.h"
#include "convolutional_tokenizer.h"
#include "encoder_families.h"
#include "gelu.h"
#include "layer_norm.h"
#include "linear.h"

namespace cohort::nn {
namespace {

struct CompactSize {
  std::string_view name;
  std::int64_t kernel, convolutions, width, depth, heads, ratio;
};

// Table 1 of arXiv 2104.05704 and its published code; CVT cuts patches of 4 x 4.
constexpr std::array kCompactSizes{
    CompactSize{"cct_2_3x2", 3, 2, 128, 2, 2, 1}, CompactSize{"cct_4_3x2", 3, 2, 128, 4, 2, 1},
    CompactSize{"cct_6_3x1", 3, 1, 256, 6, 4, 2}, CompactSize{"cct_6_3x2", 3, 2, 256, 6, 4, 2},
    CompactSize{"cct_7_3x1", 3, 1, 256, 7, 4, 2}, CompactSize{"cct_7_3x2", 3, 2, 256, 7, 4, 2},
    CompactSize{"cct_7_7x2", 7, 2, 256, 7, 4, 2}, CompactSize{"cct_14_7x2", 7, 2, 384, 14, 6, 3},
    CompactSize{"cvt_2_4", 4, 0, 128, 2, 2, 1},   CompactSize{"cvt_4_4", 4, 0, 128, 4, 2, 1},
    CompactSize{"cvt_6_4", 4, 0, 256, 6, 4, 2},   CompactSize{"cvt_7_4", 4, 0, 256, 7, 4, 2}};

constexpr double kEpsilon = 1e-5;
constexpr std::string_view kPositions = "classifier.positional_emb";

TokenizerShape tokenizer_of(const CctShape& shape) {
  TokenizerShape of{.channels = shape.channels,
                    .width = shape.embed_dim,
                    .kernel = shape.kernel,
                    .stride = std::max<std::int64_t>(1, shape.kernel / 2 - 1),
                    .padding = std::max<std::int64_t>(1, shape.kernel / 2),
                    .convolutions = shape.convolutions,
                    .planes = shape.planes};
  if (shape.convolutions > 0) return of;
  of.stride = shape.kernel;
  of.padding = 0;
  of.convolutions = 1;
  of.pools = false;
  return of;
}

EncoderTraits compact_traits(const CctShape& shape) {
  return {.kind = "compact transformer",
          .width = shape.embed_dim,
          .classes = shape.classes,
          .context_keys = shape.context.keys,
          .other_tokens = std::ssize(shape.context.keys),
          .map_widths = {shape.embed_dim}};
}

double path_rate(const CctShape& shape, std::int64_t block) {
  return shape.depth < 2
             ? 0.0
             : shape.drop_path * static_cast<double>(block) / static_cast<double>(shape.depth - 1);
}

/// Sines at even places of a row, cosines at odd ones, both of row / 10000^(2 ⌊i / 2⌋ / width): [1, rows,
/// width] f64.
at::Tensor sines_of_rows(std::int64_t rows, std::int64_t width) {
  const at::Tensor pair = at::arange(width, at::kDouble).div(2).floor().mul(2.0 / static_cast<double>(width));
  const at::Tensor angles = at::arange(rows, at::kDouble).unsqueeze(1) * at::pow(10000.0, -pair);
  const at::Tensor is_even = at::arange(width).remainder(2).eq(0);
  return at::where(is_even, angles.sin(), angles.cos()).unsqueeze(0);
}

}  // namespace

/// t = norm1(t + attention(pre_norm(t))), t + linear2(gelu(linear1(t))): the second norm is on the residual
/// path. Random numbers of block l: dropout l of attention, branches 2 l and 2 l + 1.
class CctBlock final : public torch::nn::Module {
 public:
  CctBlock(const CctShape& shape, std::int64_t index)
      : index_(static_cast<std::uint32_t>(index)),
        drop_path_(path_rate(shape, index)),
        attention_dropout_(shape.attention_dropout),
        pre_norm_(register_module("pre_norm", make_layer_norm(shape.embed_dim, kEpsilon))),
        attention_(register_module("self_attn", std::make_shared<Attention>(shape.embed_dim, shape.heads,
                                                                            /*qkv_bias=*/false))),
        linear1_(register_module("linear1", torch::nn::Linear(shape.embed_dim, shape.hidden))),
        norm1_(register_module("norm1", make_layer_norm(shape.embed_dim, kEpsilon))),
        linear2_(register_module("linear2", torch::nn::Linear(shape.hidden, shape.embed_dim))) {}

  at::Tensor forward(const at::Tensor& tokens, const Conditions& conditions) {
    const auto dropped = [&](const at::Tensor& branch, std::uint32_t number) {
      return drop_path(branch, drop_path_, conditions, 2 * index_ + number);
    };
    const at::Tensor attended = attend(pre_norm_->forward(tokens), conditions);
    const at::Tensor middle = norm1_->forward(add_branch(tokens, dropped(attended, 0)));
    return add_branch(middle, dropped(linear(*linear2_, exact_gelu(linear(*linear1_, middle))), 1));
  }

 private:
  at::Tensor attend(const at::Tensor& tokens, const Conditions& conditions) {
    if (!conditions.training || attention_dropout_ == 0.0) return attention_->forward(tokens, tokens.size(1));
    const Attention::Projections of = attention_->project(tokens);
    const double scale = 1.0 / std::sqrt(static_cast<double>(of.query.size(3)));
    const at::Tensor weights = at::softmax(at::matmul(of.query, of.key.transpose(2, 3)) * scale, -1);
    return attention_->join(at::matmul(dropout(weights, attention_dropout_, conditions, index_), of.value));
  }

  std::uint32_t index_;
  double drop_path_, attention_dropout_;
  torch::nn::LayerNorm pre_norm_;
  std::shared_ptr<Attention> attention_;
  torch::nn::Linear linear1_;
  torch::nn::LayerNorm norm1_;
  torch::nn::Linear linear2_;
};

namespace {

/// The table of positions, of which the published deviation is 0.2.
class Classifier final : public torch::nn::Module, public Initialised {
 public:
  [[nodiscard]] std::optional<Draw> first_values_of(const std::string& name,
                                                    const torch::nn::Module& /*owner*/) const override {
    return name == "positional_emb" ? std::optional(draw::truncated_normal(0.2)) : std::nullopt;
  }
};

CctShape compact_shape(const ModelConfig& config, const EncoderInput& input) {
  CctShape shape = cct_shape(config.name).value();
  const std::int64_t ratio = shape.hidden / shape.embed_dim;
  shape.channels = input.channels;
  shape.height = input.height;
  shape.width = input.width;
  if (config.width > 0) shape.embed_dim = config.width;
  if (config.depth > 0) shape.depth = config.depth;
  if (config.heads > 0) shape.heads = config.heads;
  shape.hidden = ratio * shape.embed_dim;
  shape.classes = input.classes;
  shape.drop_path = config.drop_path;
  shape.attention_dropout = config.cct.attention_dropout;
  shape.positions = config.cct.positions;
  shape.context = input.context;
  shape.vocabulary = input.vocabulary;
  return shape;
}

void check_compact(const ModelConfig& config, const EncoderInput& input) {
  const CctShape shape = compact_shape(config, input);
  check_heads(shape.embed_dim, shape.heads);
  check_context_keys(shape.context);
  const std::int64_t least = stride_of(tokenizer_of(shape));
  if (std::min(shape.height, shape.width) >= least) return;
  throw UsageError({fmt::format("images of {} x {} are too small for {}, which takes every {}th pixel",
                                shape.height, shape.width, config.name, least),
                    "model.name", "choose one of fewer convolutions, or larger images"});
}

std::shared_ptr<Encoder> make_compact(const ModelConfig& config, const EncoderInput& input) {
  return std::make_shared<Cct>(compact_shape(config, input));
}

}  // namespace

std::optional<CctShape> cct_shape(const std::string& name) {
  const auto* const found = std::find_if(kCompactSizes.begin(), kCompactSizes.end(),
                                         [&](const CompactSize& size) { return size.name == name; });
  if (found == kCompactSizes.end()) return std::nullopt;
  return CctShape{.kernel = found->kernel,
                  .convolutions = found->convolutions,
                  .embed_dim = found->width,
                  .depth = found->depth,
                  .heads = found->heads,
                  .hidden = found->ratio * found->width};
}

std::vector<std::string> cct_names() {
  std::vector<std::string> names;
  for (const CompactSize& size : kCompactSizes) names.emplace_back(size.name);
  return names;
}

Cct::Cct(CctShape shape) : shape_(std::move(shape)), traits_(compact_traits(shape_)) {
  using namespace torch::nn;
  const std::int64_t width = shape_.embed_dim;
  tokenizer_ = register_module("tokenizer", std::make_shared<ConvolutionalTokenizer>(tokenizer_of(shape_)));
  const auto classifier = register_module("classifier", std::make_shared<Classifier>());
  if (shape_.positions == CctPositions::learned)
    positional_emb_ =
        classifier->register_parameter("positional_emb", at::zeros({1, table_grid().count(), width}));
  if (!shape_.context.keys.empty())
    context_ =
        register_module("cin", std::make_shared<ContextInference>(shape_.context, shape_.vocabulary, width));
  add_blocks(*classifier);
  norm_ = classifier->register_module("norm", make_layer_norm(width, kEpsilon).ptr());
  attention_pool_ = classifier->register_module("attention_pool", Linear(width, 1).ptr());
  if (shape_.classes > 0) head_ = classifier->register_module("fc", Linear(width, shape_.classes).ptr());
  discard_values(*this);
}

Cct::Cct(CctShape shape, std::uint64_t seed) : Cct(std::move(shape)) {
  initialise(*this, seed);
}

void Cct::add_blocks(torch::nn::Module& classifier) {
  const auto blocks = classifier.register_module("blocks", std::make_shared<torch::nn::Module>());
  block_contexts_ =
      contexts_of_layers(*this, shape_.context, shape_.vocabulary, shape_.embed_dim, shape_.depth);
  for (std::int64_t l = 0; l < shape_.depth; ++l) {
    blocks_.push_back(blocks->register_module(std::to_string(l), std::make_shared<CctBlock>(shape_, l)));
    discard_values(*blocks_.back());
    std::vector<std::shared_ptr<torch::nn::Module>> unit;
    unit.push_back(blocks_.back());
    if (!block_contexts_.empty()) unit.push_back(block_contexts_[static_cast<std::size_t>(l)]);
    add_unit(std::move(unit));
  }
}

Encoder::Output Cct::encode(const at::Tensor& images, const Conditions& conditions, unsigned wanted) {
  begin();
  const at::Tensor map = tokenizer_->forward(images);  // [B, D, rows, columns]
  const PatchGrid grid{map.size(2), map.size(3)};
  const at::Tensor patches = tokens_of(map);
  Output output;
  at::Tensor x = patches + positions(grid, patches);
  if (context_ != nullptr) {
    output.context = context_->forward(patches, conditions);
    x = at::cat({output.context, x}, 1);
  }
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    // By value: a runner may call the body again in the backward pass.
    x = run(l, x, [l, conditions, this](const at::Tensor& in) { return run_unit(l, in, conditions); });
  }
  output.tokens = norm_->as<torch::nn::LayerNorm>()->forward(x);
  const std::int64_t before = traits_.other_tokens;
  if ((wanted & maps) != 0)
    output.maps.push_back({output.tokens.narrow(1, before, grid.count()).transpose(1, 2).reshape(map.sizes()),
                           stride_of(tokenizer_of(shape_))});
  if ((wanted & (pooled | logits)) != 0) output.pooled = pool(output.tokens);
  if (head_ != nullptr && (wanted & logits) != 0)
    output.logits = linear(*head_->as<torch::nn::Linear>(), output.pooled);
  return output;
}

at::Tensor Cct::patches_of(const at::Tensor& images) {
  return tokens_of(tokenizer_->forward(images));
}

at::Tensor Cct::run_unit(std::size_t index, const at::Tensor& in, const Conditions& conditions) {
  const at::Tensor out = blocks_[index]->forward(in, conditions);
  if (block_contexts_.empty() || index + 1 == blocks_.size()) return out;
  return with_new_contexts(out, 0, traits_.other_tokens, *block_contexts_[index], conditions);
}

at::Tensor Cct::pooling_weights(const at::Tensor& of) {
  return at::softmax(linear(*attention_pool_->as<torch::nn::Linear>(), of).squeeze(-1), -1);
}

// [B, T, D] -> [B, D]
at::Tensor Cct::pool(const at::Tensor& of) {
  return at::matmul(pooling_weights(of).unsqueeze(1), of).squeeze(1);
}

PatchGrid Cct::table_grid() const noexcept {
  return grid_of(tokenizer_of(shape_), shape_.height, shape_.width);
}

// [1, N, D]
at::Tensor Cct::positions(PatchGrid grid, const at::Tensor& like) const {
  if (!positional_emb_.defined()) return sines_of_rows(grid.count(), shape_.embed_dim).to(like.options());
  return interpolate_positions(positional_emb_, 0, grid_of(tokenizer_of(shape_), shape_.height, shape_.width),
                               grid, PositionInterpolation::plain);
}

std::int64_t Cct::token_count(std::int64_t /*channels*/, std::int64_t height, std::int64_t width) const {
  return grid_of(tokenizer_of(shape_), height, width).count();
}

std::string Cct::summary() const {
  return fmt::format("width {}, depth {}, {} heads, a token every {} pixels", shape_.embed_dim, shape_.depth,
                     shape_.heads, stride_of(tokenizer_of(shape_)));
}

bool Cct::is_optional(std::string_view name) const {
  return shape_.positions == CctPositions::sinusoidal && name == kPositions;
}

std::optional<Adapted> Cct::adapt(const std::string& name, const at::Tensor& parameter,
                                  const at::Tensor& stored, NamesOfBoth names) const {
  if (name == "tokenizer.conv_layers.0.0.weight") return filters_of_channels(stored, parameter, names);
  if (name != kPositions) return rows_of_dictionary(name, stored, names);
  if (stored.dim() != 3 || stored.size(2) != parameter.size(2)) return Adapted{stored};
  return positions_of_grid(stored, 0, tokenizer_of(shape_), table_grid(), names);
}

int Cct::own_layer_of(const std::string& parameter) const {
  for (const std::string_view blocks : {"classifier.blocks.", "cin_blocks."})
    if (parameter.starts_with(blocks)) return std::stoi(parameter.substr(blocks.size())) + 1;
  const bool is_behind = parameter.starts_with("classifier.") && parameter != kPositions;
  return is_behind ? last_layer() : 0;
}

EncoderFamily cct_family() {
  return {.kind = "compact transformers",
          .section = "cct",
          .takes_contexts = true,
          .names = cct_names,
          .check = check_compact,
          .make = make_compact};
}

}  // namespace cohort::nn
