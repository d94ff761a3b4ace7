#include "cohort/nn/vit.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/nn/channel_sampling.h"
#include "cohort/nn/dropout.h"
#include "cohort/nn/initialise.h"

#include "block.h"
#include "context_tokens.h"
#include "encoder_families.h"
#include "linear.h"
#include "patch_embedding.h"

namespace cohort::nn {
namespace {

struct NamedSize {
  std::string_view name;
  std::int64_t width, depth, heads;
};

// ViT (arXiv 2010.11929), DeiT (arXiv 2012.12877), and the giant of DINOv2 (arXiv 2304.07193).
constexpr std::array kSizes{NamedSize{"vit_tiny", 192, 12, 3},   NamedSize{"vit_small", 384, 12, 6},
                            NamedSize{"vit_base", 768, 12, 12},  NamedSize{"vit_large", 1024, 24, 16},
                            NamedSize{"vit_huge", 1280, 32, 16}, NamedSize{"vit_giant", 1536, 40, 24}};

std::vector<std::string> vit_names() {
  std::vector<std::string> names;
  for (const NamedSize& size : kSizes) names.emplace_back(size.name);
  return names;
}

NamedSize find_size(const std::string& name) {
  const auto* const found =
      std::find_if(kSizes.begin(), kSizes.end(), [&](const NamedSize& size) { return size.name == name; });
  if (found != kSizes.end()) return *found;
  throw UsageError({fmt::format("unknown model '{}'", name), "model.name", did_you_mean(name, vit_names())});
}

void check_divides(std::int64_t patch, std::int64_t height, std::int64_t width) {
  if (height % patch == 0 && width % patch == 0 && height > 0 && width > 0) return;
  std::vector<std::string> divisors;
  for (std::int64_t size = 2; size <= std::min(height, width); ++size) {
    if (height % size == 0 && width % size == 0) divisors.push_back(std::to_string(size));
  }
  const std::string fix =
      divisors.empty()
          ? "no size above 1 does: give the images another one, with cohort-data convert --resize"
          : "use one of " + join(divisors, ", ");
  throw UsageError(
      {fmt::format("patches of {0} x {0} pixels do not divide images of {1} x {2}", patch, height, width),
       "model.patch_size", fix});
}

PatchGrid grid_of(std::int64_t height, std::int64_t width, std::int64_t patch) {
  return {height / patch, width / patch};
}

// Linear from 0 at the first block to `last` at the last.
double drop_path_of(std::int64_t block, std::int64_t depth, double last) {
  return depth < 2 ? 0.0 : last * static_cast<double>(block) / static_cast<double>(depth - 1);
}

std::int64_t tokens_before_context(const VitShape& shape) {
  return 1 + shape.registers;
}

EncoderTraits traits_of(const VitShape& shape) {
  return {.kind = "vision transformer",
          .width = shape.embed_dim,
          .classes = shape.classes,
          .context_keys = shape.context.keys,
          .layers = shape.depth,
          .other_tokens = tokens_before_patches(shape),
          .map_widths = {shape.embed_dim}};
}

// Rows of the position table before those of patches.
std::int64_t positions_before_patches(const VitShape& shape) {
  return shape.registers > 0 ? 0 : tokens_before_patches(shape);
}

}  // namespace

void check_heads(std::int64_t width, std::int64_t heads) {
  if (width % heads == 0) return;
  std::vector<std::string> divisors;
  for (std::int64_t count = 1; count <= std::min<std::int64_t>(width, 32); ++count) {
    if (width % count == 0) divisors.push_back(std::to_string(count));
  }
  throw UsageError({fmt::format("{} attention heads do not divide a width of {}", heads, width),
                    "model.heads", "use one of " + join(divisors, ", ")});
}

std::int64_t tokens_before_patches(const VitShape& shape) noexcept {
  return tokens_before_context(shape) + std::ssize(shape.context.keys);
}

VitShape vit_shape(const ModelConfig& config, const ContextConfig& context,
                   std::vector<std::int64_t> vocabulary, std::int64_t channels, std::int64_t height,
                   std::int64_t width, std::int64_t classes) {
  const NamedSize size = find_size(config.name);
  VitShape shape{.channels = channels,
                 .height = height,
                 .width = width,
                 .patch_size = config.patch_size,
                 .embed_dim = config.width > 0 ? config.width : size.width,
                 .depth = config.depth > 0 ? config.depth : size.depth,
                 .heads = config.heads > 0 ? config.heads : size.heads,
                 .mlp_ratio = config.mlp_ratio,
                 .dropout = config.dropout,
                 .drop_path = config.drop_path,
                 .classes = classes,
                 .family = config.family,
                 .registers = config.registers,
                 .layer_scale = config.layer_scale,
                 .positions = config.positions,
                 .channel_sampling = config.channel_sampling,
                 .pooling = config.pooling,
                 .context = context,
                 .vocabulary = std::move(vocabulary)};
  check_divides(shape.patch_size, height, width);
  check_heads(shape.embed_dim, shape.heads);
  check_context_keys(context);
  return shape;
}

namespace {

VitShape shape_for(const ModelConfig& config, const EncoderInput& input) {
  return vit_shape(config, input.context, input.vocabulary, input.channels, input.height, input.width,
                   input.classes);
}

void check_vit(const ModelConfig& config, const EncoderInput& input) {
  (void)shape_for(config, input);
}

std::shared_ptr<Encoder> make_vit(const ModelConfig& config, const EncoderInput& input) {
  return std::make_shared<VisionTransformer>(shape_for(config, input));
}

}  // namespace

VisionTransformer::VisionTransformer(VitShape shape, std::uint64_t seed)
    : VisionTransformer(std::move(shape), [](torch::nn::Module&) {}) {
  initialise(*this, seed);
}

VisionTransformer::VisionTransformer(VitShape shape) : VisionTransformer(std::move(shape), discard_values) {}

// `finish` is called with every block as soon as it is made, and with the whole at the end.
VisionTransformer::VisionTransformer(VitShape shape, const std::function<void(torch::nn::Module&)>& finish)
    : shape_(std::move(shape)), traits_(traits_of(shape_)) {
  using namespace torch::nn;
  const std::int64_t width = shape_.embed_dim;
  const auto make_context = [&] {
    return std::make_shared<ContextInference>(shape_.context, shape_.vocabulary, width);
  };
  cls_token_ = register_parameter("cls_token", at::zeros({1, 1, width}));
  if (shape_.registers > 0)
    reg_token_ = register_parameter("reg_token", at::zeros({1, shape_.registers, width}));
  const PatchGrid grid = grid_of(shape_.height, shape_.width, shape_.patch_size);
  pos_embed_ =
      register_parameter("pos_embed", at::zeros({1, positions_before_patches(shape_) + grid.count(), width}));
  patch_embedding_ = register_module("patch_embed", std::make_shared<PatchEmbedding>(shape_));
  if (!shape_.context.keys.empty()) context_ = register_module("cin", make_context());
  const auto blocks = register_module("blocks", std::make_shared<Module>());
  for (std::int64_t l = 0; l < shape_.depth; ++l) {
    const BlockShape block{width,
                           shape_.heads,
                           static_cast<std::int64_t>(static_cast<double>(width) * shape_.mlp_ratio),
                           shape_.dropout,
                           drop_path_of(l, shape_.depth, shape_.drop_path),
                           shape_.layer_scale};
    blocks_.push_back(blocks->register_module(std::to_string(l), std::make_shared<Block>(block, l)));
    finish(*blocks_.back());
  }
  if (context_ != nullptr && is_layerwise(shape_.context.amortization)) {
    const auto contexts = register_module("cin_blocks", std::make_shared<Module>());
    for (std::int64_t l = 0; l < shape_.depth; ++l) {
      block_contexts_.push_back(contexts->register_module(std::to_string(l), make_context()));
      finish(*block_contexts_.back());
    }
  }
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    std::vector<std::shared_ptr<Module>> unit;
    unit.push_back(blocks_[l]);
    if (!block_contexts_.empty()) unit.push_back(block_contexts_[l]);
    add_unit(std::move(unit));
  }
  if (shape_.pooling == Pooling::cls)
    norm_ = register_module("norm", make_layer_norm(width).ptr());
  else
    pooled_norm_ = register_module("fc_norm", make_layer_norm(width).ptr());
  if (shape_.classes > 0) head_ = register_module("head", Linear(width, shape_.classes).ptr());
  finish(*this);
}

Encoder::Output VisionTransformer::encode(const at::Tensor& images, const Conditions& conditions,
                                          unsigned wanted) {
  Sequence sequence = embed(images, conditions);
  const at::Tensor context = sequence.context;
  const PatchGrid grid = sequence.grid;
  Output output = finish(blocks(std::move(sequence), 0, blocks_.size(), conditions, wanted), wanted);
  output.context = context;
  if ((wanted & maps) != 0) output.maps.push_back(map_of(output.tokens, grid));
  return output;
}

Encoder::Output VisionTransformer::encode_at(std::int64_t layer, const at::Tensor& images,
                                             const Conditions& conditions, unsigned wanted) {
  COHORT_CHECK(layer >= 0 && layer < shape_.depth, "layer {} of {}", layer, shape_.depth);
  const auto first = static_cast<std::size_t>(layer);
  Sequence sequence = embed(images, conditions);
  sequence.tokens = blocks(sequence, 0, first, conditions);
  Output output{
      .pooled = pool(sequence.tokens), .logits = {}, .tokens = sequence.tokens, .context = sequence.context};
  if ((wanted & logits) != 0)
    output.logits = finish(blocks(std::move(sequence), first, blocks_.size(), conditions), logits).logits;
  return output;
}

Sequence VisionTransformer::embed(const at::Tensor& images, const Conditions& conditions,
                                  const at::Tensor& kept) {
  begin();
  const at::Tensor patches = embed_patches(images, conditions, kept);  // [B, N, D]
  Sequence sequence{.tokens = {},
                    .context = {},
                    .before = tokens_before_patches(shape_),
                    .grid = grid_of(images.size(2), images.size(3), shape_.patch_size)};
  if (context_ != nullptr) sequence.context = context_->forward(patches, conditions);
  const bool by_channel = kept.defined() && shape_.family == Family::channelvit;
  const std::int64_t channels = by_channel       ? images.size(1)
                                : kept.defined() ? 1
                                                 : patches.size(1) / sequence.grid.count();
  sequence.tokens = dropout(assemble(patches, sequence.context, positions(sequence.grid, channels, kept)),
                            shape_.dropout, conditions, /*layer=*/0);
  return sequence;
}

at::Tensor VisionTransformer::blocks(Sequence from, std::size_t first, std::size_t last,
                                     const Conditions& conditions, unsigned wanted) {
  COHORT_CHECK(first <= last && last <= blocks_.size(), "blocks {} to {} of {}", first, last, blocks_.size());
  const bool needs_all = (wanted & (tokens | maps)) != 0 || shape_.pooling != Pooling::cls;
  at::Tensor x = std::move(from.tokens);
  for (std::size_t l = first; l < last; ++l) {
    const std::int64_t count = needs_all || l + 1 < blocks_.size() ? x.size(1) : 1;
    // By value: a runner may call the body again in the backward pass.
    x = run(l, x, [l, conditions, count, this](const at::Tensor& in) {
      return run_unit(l, in, conditions, count);
    });
  }
  return x;
}

Encoder::Output VisionTransformer::finish(const at::Tensor& behind_blocks, unsigned wanted) {
  Output output;
  output.tokens =
      norm_ == nullptr ? behind_blocks : norm_->as<torch::nn::LayerNorm>()->forward(behind_blocks);
  if ((wanted & (pooled | logits)) == 0) return output;
  output.pooled = pool(output.tokens);
  if (pooled_norm_ != nullptr)
    output.pooled = pooled_norm_->as<torch::nn::LayerNorm>()->forward(output.pooled);
  if (head_ != nullptr && (wanted & logits) != 0)
    output.logits = linear(*head_->as<torch::nn::Linear>(), output.pooled);
  return output;
}

// [B, T, D] -> [B, D]
at::Tensor VisionTransformer::pool(const at::Tensor& of) const {
  if (shape_.pooling == Pooling::cls) return of.select(1, 0);
  const std::int64_t before = traits_.other_tokens;
  return of.narrow(1, before, of.size(1) - before).mean(1);
}

FeatureMap VisionTransformer::map_of(const at::Tensor& of, PatchGrid grid) const {
  const std::int64_t images = of.size(0), before = traits_.other_tokens, width = of.size(2);
  const at::Tensor patches = of.narrow(1, before, of.size(1) - before);  // [B, c N, D]
  return {patches.reshape({images, -1, grid.rows, grid.columns, width}).mean(1).permute({0, 3, 1, 2}),
          shape_.patch_size};
}

PatchGrid VisionTransformer::table_grid() const noexcept {
  return grid_of(shape_.height, shape_.width, shape_.patch_size);
}

std::int64_t VisionTransformer::token_count(std::int64_t channels, std::int64_t height,
                                            std::int64_t width) const {
  const std::int64_t places = grid_of(height, width, shape_.patch_size).count();
  return shape_.family == Family::channelvit ? places * channels : places;
}

std::string VisionTransformer::summary() const {
  return fmt::format("width {}, depth {}, {} heads, patch {}", shape_.embed_dim, shape_.depth, shape_.heads,
                     shape_.patch_size);
}

Block& VisionTransformer::block(std::size_t layer) const {
  return *blocks_.at(layer);
}

// [B, C, h, w] -> [B, N, D], patches row by row
at::Tensor VisionTransformer::embed_patches(const at::Tensor& images, const Conditions& conditions,
                                            const at::Tensor& kept) {
  COHORT_CHECK(images.dim() == 4 && images.size(2) % shape_.patch_size == 0 &&
                   images.size(3) % shape_.patch_size == 0 && images.size(2) > 0 && images.size(3) > 0,
               "images of multiples of {} pixels were promised", shape_.patch_size);
  if (!shape_.channel_sampling || !conditions.training)
    return patch_embedding_->forward(images, conditions.channels, kept);
  const auto drawn = sample_channels(images.size(1), conditions.seed, conditions.step);
  const at::Tensor sampled = at::tensor(drawn, at::kLong).to(images.device());
  if (shape_.family == Family::vit)
    return patch_embedding_->forward(keep_channels(images, sampled), conditions.channels, kept);
  COHORT_CHECK(!kept.defined(), "patches of channels that are sampled");
  const at::Tensor channels =
      conditions.channels.defined() ? conditions.channels.index_select(0, sampled) : sampled;
  return patch_embedding_->forward(images.index_select(1, sampled), channels, kept);
}

// [B, 1 + R + K + N, D]: cls, registers, context tokens, patches, with their positions
at::Tensor VisionTransformer::assemble(const at::Tensor& patches, const at::Tensor& context,
                                       const at::Tensor& positions) {
  const auto of_each = [&](const at::Tensor& token) { return token.expand({patches.size(0), -1, -1}); };
  std::vector<at::Tensor> parts{of_each(cls_token_)};
  if (reg_token_.defined()) parts.push_back(of_each(reg_token_));
  if (context.defined()) parts.push_back(context);
  if (reg_token_.defined()) {
    parts.push_back(patches + positions);
    return at::cat(parts, 1);
  }
  parts.push_back(patches);
  return at::cat(parts, 1) + positions;
}

// Rows [1, r + N, D] for r tokens before patches; of some patches alone [B, r + n, D].
at::Tensor VisionTransformer::positions(PatchGrid grid, std::int64_t channels, const at::Tensor& kept) const {
  const std::int64_t before = positions_before_patches(shape_);
  at::Tensor rows = repeat_positions(pos_embed_, before, table_grid(), grid, shape_.positions, channels);
  if (!kept.defined()) return rows;
  const at::Tensor of_kept = rows[0]
                                 .narrow(0, before, rows.size(1) - before)
                                 .index_select(0, kept.flatten())
                                 .view({kept.size(0), kept.size(1), rows.size(2)});
  return at::cat({rows.narrow(1, 0, before).expand({kept.size(0), -1, -1}), of_kept}, 1);
}

at::Tensor VisionTransformer::run_unit(std::size_t index, const at::Tensor& in, const Conditions& conditions,
                                       std::int64_t count) {
  const at::Tensor out = blocks_[index]->forward(in, conditions, count);
  if (block_contexts_.empty() || index + 1 == blocks_.size()) return out;
  return with_new_contexts(out, tokens_before_context(shape_), std::ssize(shape_.context.keys),
                           *block_contexts_[index], conditions);
}

int VisionTransformer::own_layer_of(const std::string& parameter) const {
  const std::size_t dot = parameter.find('.');
  const std::string part = parameter.substr(0, dot);
  if (part == "blocks" || part == "cin_blocks") return std::stoi(parameter.substr(dot + 1)) + 1;
  return part == "norm" || part == "fc_norm" || part == "head" ? static_cast<int>(shape_.depth) + 1 : 0;
}

EncoderFamily vit_family() {
  return {.kind = "vision transformers",
          .section = "",
          .takes_contexts = true,
          .names = vit_names,
          .check = check_vit,
          .make = make_vit};
}

}  // namespace cohort::nn
