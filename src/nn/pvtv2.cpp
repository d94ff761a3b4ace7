#include "cohort/nn/pvtv2.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string_view>
#include <utility>

#include <ATen/ATen.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/nn/dropout.h"

#include "adapt.h"
#include "block.h"
#include "convolutional_tokenizer.h"
#include "encoder_families.h"
#include "gelu.h"
#include "layer_norm.h"
#include "linear.h"

namespace cohort::nn {
namespace {

struct PyramidSize {
  std::string_view name;
  std::int64_t width;  ///< of the first stage; the others have 2, 5 and 8 times as much
  std::array<std::int64_t, 4> depths;
};

// Table 1 of arXiv 2106.13797.
constexpr std::array kPyramidSizes{
    PyramidSize{"pvtv2_b0", 32, {2, 2, 2, 2}}, PyramidSize{"pvtv2_b1", 64, {2, 2, 2, 2}},
    PyramidSize{"pvtv2_b2", 64, {3, 4, 6, 3}}, PyramidSize{"pvtv2_b3", 64, {3, 4, 18, 3}}};

constexpr double kConvolutionEpsilon = 1e-5;  // of norms behind convolutions; others have 1e-6
constexpr std::int64_t kLeastSide = 32;

std::array<std::int64_t, 4> widths_of(std::int64_t first) {
  return {first, 2 * first, 5 * first, 8 * first};
}

EncoderTraits pyramid_traits(const PvtShape& shape) {
  return {.kind = "pyramid transformer",
          .width = shape.widths.back(),
          .classes = shape.classes,
          .map_widths = {shape.widths.begin(), shape.widths.end()}};
}

/// [B, N, D] -> [B, D, rows, columns]
at::Tensor map_of_tokens(const at::Tensor& tokens, PatchGrid grid) {
  return tokens.transpose(1, 2).reshape({tokens.size(0), tokens.size(2), grid.rows, grid.columns});
}

double pyramid_drop_path(const PvtShape& shape, std::int64_t block) {
  const std::int64_t all = std::accumulate(shape.depths.begin(), shape.depths.end(), std::int64_t{0});
  return all < 2 ? 0.0 : shape.drop_path * static_cast<double>(block) / static_cast<double>(all - 1);
}

}  // namespace

/// Attention of all places to the results of a convolution that takes one for each square of `reduction`
/// places each way.
class ReducedAttention final : public torch::nn::Module {
 public:
  ReducedAttention(std::int64_t width, std::int64_t heads, std::int64_t reduction)
      : heads_(heads),
        q_(register_module("q", torch::nn::Linear(width, width))),
        kv_(register_module("kv", torch::nn::Linear(width, 2 * width))),
        proj_(register_module("proj", torch::nn::Linear(width, width))) {
    if (reduction == 1) return;
    sr_ = register_module(
        "sr", torch::nn::Conv2d(torch::nn::Conv2dOptions(width, width, reduction).stride(reduction)));
    norm_ = register_module("norm", make_layer_norm(width, kConvolutionEpsilon));
  }

  at::Tensor forward(const at::Tensor& tokens, PatchGrid grid) {
    const at::Tensor pairs = linear(*kv_, reduced(tokens, grid));  // [B, n, 2 D]
    const std::int64_t width = tokens.size(2);
    const at::Tensor mixed =
        at::scaled_dot_product_attention(by_head(linear(*q_, tokens)), by_head(pairs.narrow(2, 0, width)),
                                         by_head(pairs.narrow(2, width, width)));
    return linear(*proj_, mixed.transpose(1, 2).reshape(tokens.sizes()));
  }

 private:
  at::Tensor reduced(const at::Tensor& tokens, PatchGrid grid) {
    return sr_.is_empty() ? tokens : norm_->forward(tokens_of(sr_->forward(map_of_tokens(tokens, grid))));
  }
  // [B, n, D] -> [B, heads, n, D / heads]
  [[nodiscard]] at::Tensor by_head(const at::Tensor& of) const {
    return of.reshape({of.size(0), of.size(1), heads_, -1}).transpose(1, 2);
  }

  std::int64_t heads_;
  torch::nn::Linear q_, kv_, proj_;
  torch::nn::Conv2d sr_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
};

/// Two linear layers, between them a convolution of 3 x 3 by channel and an exact GELU.
class ConvolutionalMlp final : public torch::nn::Module {
 public:
  ConvolutionalMlp(std::int64_t width, std::int64_t hidden)
      : fc1_(register_module("fc1", torch::nn::Linear(width, hidden))),
        fc2_(register_module("fc2", torch::nn::Linear(hidden, width))) {
    const auto around = register_module("dwconv", std::make_shared<torch::nn::Module>());
    by_channel_ = around->register_module(
        "dwconv", torch::nn::Conv2d(torch::nn::Conv2dOptions(hidden, hidden, 3).padding(1).groups(hidden)));
  }

  at::Tensor forward(const at::Tensor& tokens, PatchGrid grid) {
    const at::Tensor hidden = by_channel_->forward(map_of_tokens(linear(*fc1_, tokens), grid));
    return linear(*fc2_, exact_gelu(tokens_of(hidden)));
  }

 private:
  torch::nn::Linear fc1_, fc2_;
  torch::nn::Conv2d by_channel_{nullptr};
};

/// What begins a stage: a convolution whose windows overlap, and a norm.
class PyramidEmbedding final : public torch::nn::Module {
 public:
  PyramidEmbedding(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride)
      : proj_(register_module(
            "proj",
            torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2)))),
        norm_(register_module("norm", make_layer_norm(out, kConvolutionEpsilon))) {}

  struct Embedded {
    at::Tensor tokens;  ///< [B, N, D]
    PatchGrid grid;
  };
  Embedded forward(const at::Tensor& map) {
    const at::Tensor embedded = proj_->forward(map);
    return {norm_->forward(tokens_of(embedded)), {embedded.size(2), embedded.size(3)}};
  }

 private:
  torch::nn::Conv2d proj_;
  torch::nn::LayerNorm norm_;
};

/// t += drop_path(attention(norm1(t))), t += drop_path(mlp(norm2(t))). Random numbers of block b of all: 2 b
/// and 2 b + 1.
class PyramidBlock final : public torch::nn::Module {
 public:
  PyramidBlock(const PvtShape& shape, std::size_t stage, std::int64_t index)
      : index_(static_cast<std::uint32_t>(index)), drop_path_(pyramid_drop_path(shape, index)) {
    const std::int64_t width = shape.widths.at(stage);
    norm1_ = register_module("norm1", make_layer_norm(width));
    attention_ = register_module(
        "attn", std::make_shared<ReducedAttention>(width, shape.heads.at(stage), shape.reductions.at(stage)));
    norm2_ = register_module("norm2", make_layer_norm(width));
    mlp_ =
        register_module("mlp", std::make_shared<ConvolutionalMlp>(width, shape.mlp_ratios.at(stage) * width));
  }

  at::Tensor forward(const at::Tensor& tokens, PatchGrid grid, const Conditions& conditions) {
    const at::Tensor attended = attention_->forward(norm1_->forward(tokens), grid);
    const at::Tensor middle = add_branch(tokens, dropped(attended, 0, conditions));
    return add_branch(middle, dropped(mlp_->forward(norm2_->forward(middle), grid), 1, conditions));
  }

 private:
  [[nodiscard]] at::Tensor dropped(const at::Tensor& branch, std::uint32_t number,
                                   const Conditions& conditions) const {
    return drop_path(branch, drop_path_, conditions, 2 * index_ + number);
  }

  std::uint32_t index_;
  double drop_path_;
  torch::nn::LayerNorm norm1_{nullptr}, norm2_{nullptr};
  std::shared_ptr<ReducedAttention> attention_;
  std::shared_ptr<ConvolutionalMlp> mlp_;
};

namespace {

PvtShape pyramid_shape(const ModelConfig& config, const EncoderInput& input) {
  PvtShape shape = pvt_shape(config.name).value();
  if (config.width > 0) shape.widths = widths_of(config.width);
  shape.channels = input.channels;
  shape.classes = input.classes;
  shape.drop_path = config.drop_path;
  return shape;
}

void check_pyramid(const ModelConfig& config, const EncoderInput& input) {
  if (std::min(input.height, input.width) >= kLeastSide) return;
  throw UsageError(
      {fmt::format("images of {} x {} are too small for {}", input.height, input.width, config.name),
       "model.name",
       fmt::format("it needs {0} x {0} pixels: choose another encoder, or larger "
                   "images",
                   kLeastSide)});
}

std::shared_ptr<Encoder> make_pyramid(const ModelConfig& config, const EncoderInput& input) {
  return std::make_shared<PvtV2>(pyramid_shape(config, input));
}

}  // namespace

std::optional<PvtShape> pvt_shape(const std::string& name) {
  const auto* const found = std::find_if(kPyramidSizes.begin(), kPyramidSizes.end(),
                                         [&](const PyramidSize& size) { return size.name == name; });
  if (found == kPyramidSizes.end()) return std::nullopt;
  return PvtShape{.widths = widths_of(found->width), .depths = found->depths};
}

std::vector<std::string> pvt_names() {
  std::vector<std::string> names;
  for (const PyramidSize& size : kPyramidSizes) names.emplace_back(size.name);
  return names;
}

PvtV2::PvtV2(const PvtShape& shape) : shape_(shape), traits_(pyramid_traits(shape)) {
  for (std::size_t number = 0; number < kStages; ++number) stages_.push_back(make_stage(number));
  if (shape.classes > 0)
    head_ = register_module("head", torch::nn::Linear(shape.widths.back(), shape.classes).ptr());
  discard_values(*this);
}

PvtV2::PvtV2(const PvtShape& shape, std::uint64_t seed) : PvtV2(shape) {
  initialise(*this, seed);
}

PvtV2::Stage PvtV2::make_stage(std::size_t number) {
  const std::string name = std::to_string(number + 1);
  const std::int64_t width = shape_.widths.at(number);
  Stage stage;
  stage.embedding = register_module(
      "patch_embed" + name,
      number == 0 ? std::make_shared<PyramidEmbedding>(shape_.channels, width, 7, 4)
                  : std::make_shared<PyramidEmbedding>(shape_.widths.at(number - 1), width, 3, 2));
  const auto blocks = register_module("block" + name, std::make_shared<torch::nn::Module>());
  for (std::int64_t b = 0; b < shape_.depths.at(number); ++b) {
    const auto block = std::make_shared<PyramidBlock>(shape_, number, blocks_before(number) + b);
    stage.blocks.push_back(blocks->register_module(std::to_string(b), block));
    add_unit(std::vector<std::shared_ptr<torch::nn::Module>>(1, block));
    discard_values(*block);
  }
  stage.norm = register_module("norm" + name, make_layer_norm(width).ptr());
  return stage;
}

Encoder::Output PvtV2::encode(const at::Tensor& images, const Conditions& conditions, unsigned wanted) {
  begin();
  Output output;
  at::Tensor map = images;
  for (std::size_t number = 0; number < kStages; ++number) {
    map = run_stage(number, map, conditions);
    if ((wanted & maps) != 0) output.maps.push_back({map, std::int64_t{4} << number});
  }
  if ((wanted & (pooled | logits)) == 0) return output;
  output.pooled = map.mean({2, 3});
  if (head_ != nullptr && (wanted & logits) != 0)
    output.logits = linear(*head_->as<torch::nn::Linear>(), output.pooled);
  return output;
}

// [B, C, h, w] -> [B, D, rows, columns]
at::Tensor PvtV2::run_stage(std::size_t number, const at::Tensor& map, const Conditions& conditions) {
  const Stage& stage = stages_[number];
  const auto [embedded, grid] = stage.embedding->forward(map);
  at::Tensor x = embedded;
  auto unit = static_cast<std::size_t>(blocks_before(number));
  for (const auto& block : stage.blocks) {
    // By value: a runner may call the body again in the backward pass.
    x = run(unit++, x, [block, conditions, of = grid](const at::Tensor& in) {
      return block->forward(in, of, conditions);
    });
  }
  return map_of_tokens(stage.norm->as<torch::nn::LayerNorm>()->forward(x), grid);
}

std::int64_t PvtV2::blocks_before(std::size_t stage) const {
  return std::accumulate(shape_.depths.begin(), shape_.depths.begin() + static_cast<std::ptrdiff_t>(stage),
                         std::int64_t{0});
}

std::int64_t PvtV2::token_count(std::int64_t /*channels*/, std::int64_t /*height*/,
                                std::int64_t /*width*/) const {
  return 0;
}

std::string PvtV2::summary() const {
  return fmt::format("width {}, {} blocks", traits_.width, unit_count());
}

std::optional<Adapted> PvtV2::adapt(const std::string& name, const at::Tensor& parameter,
                                    const at::Tensor& stored, NamesOfBoth names) const {
  return name == "patch_embed1.proj.weight" ? filters_of_channels(stored, parameter, names) : Adapted{stored};
}

std::optional<Draw> PvtV2::first_values_of(const std::string& name, const torch::nn::Module& owner) const {
  const auto* const convolution = dynamic_cast<const torch::nn::Conv2dImpl*>(&owner);
  if (convolution == nullptr) return std::nullopt;
  if (name.ends_with(".bias")) return draw::constant(0.0);
  const at::Tensor& weight = convolution->weight;  // [out, in of a group, P, Q]
  const std::int64_t fan_out =
      weight.size(0) * weight.size(2) * weight.size(3) / convolution->options.groups();
  return draw::normal(std::sqrt(2.0 / static_cast<double>(fan_out)));
}

int PvtV2::own_layer_of(const std::string& parameter) const {
  for (std::size_t stage = 0; stage < kStages; ++stage) {
    const std::string number = std::to_string(stage + 1) + ".", block = "block" + number;
    const auto before = static_cast<int>(blocks_before(stage));
    if (parameter.starts_with("patch_embed" + number)) return before;
    if (parameter.starts_with(block)) return before + std::stoi(parameter.substr(block.size())) + 1;
    if (parameter.starts_with("norm" + number) && stage + 1 < kStages)
      return static_cast<int>(blocks_before(stage + 1));
  }
  return last_layer();
}

// The section has no options: without a name of its own it would be that of vision transformers.
EncoderFamily pvt_family() {
  return {.kind = "pyramid transformers",
          .section = "pvtv2",
          .names = pvt_names,
          .check = check_pyramid,
          .make = make_pyramid};
}

}  // namespace cohort::nn
