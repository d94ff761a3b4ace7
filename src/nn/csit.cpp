#include "cohort/nn/csit.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/nn/initialise.h"

#include "adapt.h"
#include "block.h"
#include "context_tokens.h"
#include "convolutional_tokenizer.h"
#include "encoder_families.h"
#include "linear.h"

namespace cohort::nn {
namespace {

constexpr std::array<std::string_view, 2> kCsitNames{"csit_14_7x2_p16", "csit_14_7x2_p8"};
constexpr std::int64_t kOwnTokens = 2;  // rotation, contrastive
constexpr std::int64_t kMlpRatio = 3;

TokenizerShape tokenizer_of(const CsitShape& shape) {
  return {.channels = shape.channels,
          .width = shape.embed_dim,
          .kernel = 7,
          .stride = 2,
          .padding = 3,
          .convolutions = 2,
          .planes = shape.planes,
          .last_pool = shape.is_fine ? 1 : 2};
}

EncoderTraits csit_traits(const CsitShape& shape) {
  return {.kind = "cSiT transformer",
          .width = shape.embed_dim,
          .classes = shape.classes,
          .context_keys = shape.context.keys,
          .other_tokens = kOwnTokens + std::ssize(shape.context.keys),
          .map_widths = {shape.embed_dim}};
}

BlockShape block_of(const CsitShape& shape, std::int64_t index) {
  const double part =
      shape.depth < 2 ? 0.0 : static_cast<double>(index) / static_cast<double>(shape.depth - 1);
  return {.width = shape.embed_dim,
          .heads = shape.heads,
          .hidden = kMlpRatio * shape.embed_dim,
          .dropout = 0.0,
          .drop_path = shape.drop_path * part,
          .layer_scale = 0.0};
}

CsitShape csit_shape_of(const ModelConfig& config, const EncoderInput& input) {
  CsitShape shape = csit_shape(config.name).value();
  shape.channels = input.channels;
  shape.height = input.height;
  shape.width = input.width;
  if (config.width > 0) shape.embed_dim = config.width;
  if (config.depth > 0) shape.depth = config.depth;
  if (config.heads > 0) shape.heads = config.heads;
  shape.classes = input.classes;
  shape.drop_path = config.drop_path;
  shape.pooling = config.csit.pooling;
  shape.context = input.context;
  shape.vocabulary = input.vocabulary;
  return shape;
}

void check_csit(const ModelConfig& config, const EncoderInput& input) {
  const CsitShape shape = csit_shape_of(config, input);
  check_heads(shape.embed_dim, shape.heads);
  check_context_keys(shape.context);
}

std::shared_ptr<Encoder> make_csit(const ModelConfig& config, const EncoderInput& input) {
  return std::make_shared<Csit>(csit_shape_of(config, input));
}

constexpr std::array kOfPretraining{
    Rename{"convTrans.*", ""},      Rename{"rot_w", ""},      Rename{"contrastive_w", ""},
    Rename{"recons_w", ""},         Rename{"rot_head.*", ""}, Rename{"contrastive_head.*", ""},
    Rename{"pre_logits_rot.*", ""}, Rename{"last_fc.*", ""},  Rename{"pre_logits_contrastive.*", ""}};
constexpr std::array kCsitDialects{Dialect{"convTrans.weight", kOfPretraining}};

}  // namespace

std::optional<CsitShape> csit_shape(const std::string& name) {
  if (std::find(kCsitNames.begin(), kCsitNames.end(), name) == kCsitNames.end()) return std::nullopt;
  return CsitShape{.is_fine = name == kCsitNames[1]};
}

std::vector<std::string> csit_names() {
  return {kCsitNames.begin(), kCsitNames.end()};
}

Csit::Csit(CsitShape shape) : shape_(std::move(shape)), traits_(csit_traits(shape_)) {
  const std::int64_t width = shape_.embed_dim;
  rot_token_ = register_parameter("rot_token", at::zeros({1, 1, width}));
  contrastive_token_ = register_parameter("contrastive_token", at::zeros({1, 1, width}));
  pos_embed_ = register_parameter("pos_embed", at::zeros({1, kOwnTokens + table_grid().count(), width}));
  tokenizer_ = register_module("patch_embed", std::make_shared<ConvolutionalTokenizer>(tokenizer_of(shape_)));
  if (!shape_.context.keys.empty())
    context_ =
        register_module("cin", std::make_shared<ContextInference>(shape_.context, shape_.vocabulary, width));
  add_blocks();
  norm_ = register_module("norm", make_layer_norm(width).ptr());
  add_heads();
  discard_values(*this);
}

Csit::Csit(CsitShape shape, std::uint64_t seed) : Csit(std::move(shape)) {
  initialise(*this, seed);
}

void Csit::add_blocks() {
  const auto blocks = register_module("blocks", std::make_shared<torch::nn::Module>());
  block_contexts_ =
      contexts_of_layers(*this, shape_.context, shape_.vocabulary, shape_.embed_dim, shape_.depth);
  for (std::int64_t l = 0; l < shape_.depth; ++l) {
    const auto block = std::make_shared<Block>(block_of(shape_, l), l);
    blocks_.push_back(blocks->register_module(std::to_string(l), block));
    discard_values(*block);
    std::vector<std::shared_ptr<torch::nn::Module>> unit(1, block);
    if (!block_contexts_.empty()) unit.push_back(block_contexts_[static_cast<std::size_t>(l)]);
    add_unit(std::move(unit));
  }
}

void Csit::add_heads() {
  using torch::nn::Linear;
  const bool is_sequence = shape_.pooling == CsitPooling::sequence;
  if (is_sequence) attention_pool_ = register_module("attention_pool", Linear(shape_.embed_dim, 1).ptr());
  if (shape_.classes == 0) return;
  heads_[0] =
      register_module(is_sequence ? "last_fc" : "rot_head", Linear(shape_.embed_dim, shape_.classes).ptr());
  if (!is_sequence)
    heads_[1] = register_module("contrastive_head", Linear(shape_.embed_dim, shape_.classes).ptr());
}

Encoder::Output Csit::encode(const at::Tensor& images, const Conditions& conditions, unsigned wanted) {
  begin();
  const at::Tensor map = tokenizer_->forward(images);  // [B, D, rows, columns]
  const PatchGrid grid{map.size(2), map.size(3)};
  const at::Tensor patches = tokens_of(map);
  Output output;
  if (context_ != nullptr) output.context = context_->forward(patches, conditions);
  at::Tensor x = assemble(patches, output.context, grid);
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    // By value: a runner may call the body again in the backward pass.
    x = run(l, x, [l, conditions, this](const at::Tensor& in) { return run_unit(l, in, conditions); });
  }
  output.tokens = norm_->as<torch::nn::LayerNorm>()->forward(x);
  if ((wanted & maps) != 0)
    output.maps.push_back(
        {output.tokens.narrow(1, traits_.other_tokens, grid.count()).transpose(1, 2).reshape(map.sizes()),
         stride_of(tokenizer_of(shape_))});
  if ((wanted & (pooled | logits)) != 0) output.pooled = pool(output.tokens);
  if (heads_[0] != nullptr && (wanted & logits) != 0) output.logits = answer(output);
  return output;
}

// [B, 2 + K + N, D]: rotation and contrastive token, contexts, patches
at::Tensor Csit::assemble(const at::Tensor& patches, const at::Tensor& context, PatchGrid grid) const {
  const at::Tensor table =
      interpolate_positions(pos_embed_, kOwnTokens, table_grid(), grid, PositionInterpolation::plain);
  const at::Tensor own = at::cat({rot_token_, contrastive_token_}, 1) + table.narrow(1, 0, kOwnTokens);
  std::vector<at::Tensor> parts{own.expand({patches.size(0), -1, -1})};
  if (context.defined()) parts.push_back(context);
  parts.push_back(patches + table.narrow(1, kOwnTokens, grid.count()));
  return at::cat(parts, 1);
}

at::Tensor Csit::run_unit(std::size_t index, const at::Tensor& in, const Conditions& conditions) {
  const at::Tensor out = blocks_[index]->forward(in, conditions, in.size(1));
  if (block_contexts_.empty() || index + 1 == blocks_.size()) return out;
  return with_new_contexts(out, kOwnTokens, std::ssize(shape_.context.keys), *block_contexts_[index],
                           conditions);
}

at::Tensor Csit::pooling_weights(const at::Tensor& of) {
  COHORT_CHECK(attention_pool_ != nullptr, "weights of tokens where two alone are pooled");
  return at::softmax(linear(*attention_pool_->as<torch::nn::Linear>(), of).squeeze(-1), -1);
}

// [B, T, D] -> [B, D]
at::Tensor Csit::pool(const at::Tensor& of) {
  if (attention_pool_ == nullptr) return of.narrow(1, 0, kOwnTokens).mean(1);
  return at::matmul(pooling_weights(of).unsqueeze(1), of).squeeze(1);
}

at::Tensor Csit::answer(const Output& output) {
  const auto of = [&](std::size_t head, const at::Tensor& features) {
    return linear(*heads_.at(head)->as<torch::nn::Linear>(), features);
  };
  if (attention_pool_ != nullptr) return of(0, output.pooled);
  return (of(0, output.tokens.select(1, 0)) + of(1, output.tokens.select(1, 1))) / 2;
}

PatchGrid Csit::table_grid() const noexcept {
  return grid_of(tokenizer_of(shape_), shape_.height, shape_.width);
}

std::int64_t Csit::token_count(std::int64_t /*channels*/, std::int64_t height, std::int64_t width) const {
  return grid_of(tokenizer_of(shape_), height, width).count();
}

std::string Csit::summary() const {
  return fmt::format("width {}, depth {}, {} heads, a token every {} pixels", shape_.embed_dim, shape_.depth,
                     shape_.heads, stride_of(tokenizer_of(shape_)));
}

std::string_view Csit::head() const noexcept {
  return shape_.pooling == CsitPooling::sequence ? "last_fc." : "rot_head.";
}

std::span<const Dialect> Csit::dialects() const noexcept {
  return kCsitDialects;
}

bool Csit::is_optional(std::string_view name) const {
  constexpr std::array<std::string_view, 4> kBegins{"rot_head.", "contrastive_head.", "last_fc.",
                                                    "attention_pool."};
  return std::any_of(kBegins.begin(), kBegins.end(),
                     [&](std::string_view begin) { return name.starts_with(begin); });
}

std::optional<Adapted> Csit::adapt(const std::string& name, const at::Tensor& parameter,
                                   const at::Tensor& stored, NamesOfBoth names) const {
  if (name == "patch_embed.conv_layers.0.0.weight") return filters_of_channels(stored, parameter, names);
  if (name.starts_with("contrastive_head.")) return rows_of_classes(stored, names);
  if (name != "pos_embed") return rows_of_dictionary(name, stored, names);
  if (stored.dim() != 3 || stored.size(2) != parameter.size(2)) return Adapted{stored};
  return positions_of_grid(stored, kOwnTokens, tokenizer_of(shape_), table_grid(), names);
}

int Csit::own_layer_of(const std::string& parameter) const {
  for (const std::string_view blocks : {"blocks.", "cin_blocks."})
    if (parameter.starts_with(blocks)) return std::stoi(parameter.substr(blocks.size())) + 1;
  const bool is_behind = is_optional(parameter) || parameter.starts_with("norm.");
  return is_behind ? last_layer() : 0;
}

EncoderFamily csit_family() {
  return {.kind = "cSiT transformers",
          .section = "csit",
          .takes_contexts = true,
          .names = csit_names,
          .check = check_csit,
          .make = make_csit};
}

}  // namespace cohort::nn
