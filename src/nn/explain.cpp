#include "cohort/nn/explain.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

#include "block.h"

namespace cohort::nn {
namespace {

constexpr double kLeastRange = 1e-12;

/// The places that a mask shows with each of `places`: [N, n], and their weights.
struct Neighbourhood {
  at::Tensor index, weight;
};

/// Places from the one that is asked for to the last that is shown.
std::int64_t reach_of(const ReciprocamConfig& config) {
  if (config.mask == PlaceMask::gaussian) return 1;
  return config.mask == PlaceMask::delta ? 0 : config.side / 2;
}

double weight_at(PlaceMask mask, std::int64_t down, std::int64_t right) {
  static constexpr std::array<double, 3> kKernel{1, 2, 1};
  if (mask != PlaceMask::gaussian) return 1.0;
  return kKernel.at(static_cast<std::size_t>(down + 1)) * kKernel.at(static_cast<std::size_t>(right + 1)) /
         16;
}

Neighbourhood neighbourhood(const ReciprocamConfig& config, PatchGrid grid, std::int64_t places) {
  const std::int64_t reach = reach_of(config);
  std::vector<std::int64_t> index;
  std::vector<float> weight;
  for (std::int64_t n = 0; n < places; ++n) {
    const std::int64_t first = n - n % grid.count();  // of the channel
    const std::int64_t row = n % grid.count() / grid.columns, column = n % grid.columns;
    for (std::int64_t y = -reach; y <= reach; ++y) {
      for (std::int64_t x = -reach; x <= reach; ++x) {
        const bool inside =
            row + y >= 0 && row + y < grid.rows && column + x >= 0 && column + x < grid.columns;
        index.push_back(inside ? first + (row + y) * grid.columns + column + x : n);
        weight.push_back(inside ? static_cast<float>(weight_at(config.mask, y, x)) : 0.0F);
      }
    }
  }
  return {at::tensor(index, at::kLong).view({places, -1}), at::tensor(weight).view({places, -1})};
}

Neighbourhood on_device(const Neighbourhood& near, const at::Tensor& values) {
  return {near.index.to(values.device()), near.weight.to(values.device())};
}

/// Weights [count, N] of the masks of places `first` and behind it.
at::Tensor masks_of(const Neighbourhood& near, std::int64_t first, std::int64_t count) {
  const at::Tensor index = near.index.narrow(0, first, count), weight = near.weight.narrow(0, first, count);
  return at::zeros({count, near.index.size(0)}, weight.options()).scatter_add_(1, index, weight);
}

/// What cls attends to for every patch that is asked for: values [B, heads, N, d]. A token of weight w has
/// key k_0 + w (k - k_0) and value v_0 + w (v - v_0), with k_0 and v_0 of a token that is masked out. Those
/// outside the neighbourhood, and in it with weight 0, are such constants, of which one term stands for all.
at::Tensor masked_attention(const Attention::Projections& of, const Attention::Projections& constant,
                            std::int64_t others, const Neighbourhood& near) {
  const std::int64_t patches = of.key.size(2) - others, heads = of.key.size(1), width = of.key.size(3);
  const at::Tensor query = of.query.narrow(2, 0, 1) / std::sqrt(static_cast<double>(width));
  const at::Tensor scores = query.matmul(of.key.transpose(2, 3)).squeeze(2);                // [B, heads, T]
  const at::Tensor constant_score = query.matmul(constant.key.transpose(2, 3)).squeeze(2);  // [B, heads, 1]
  const at::Tensor flat = near.index.flatten();
  const auto neighbours = [&](const at::Tensor& tokens, std::int64_t dim) {
    return tokens.narrow(dim, others, patches).index_select(dim, flat);
  };
  const at::Tensor near_scores =
      neighbours(scores, 2).view({-1, heads, patches, near.index.size(1)}) * near.weight +
      constant_score.unsqueeze(3) * (1 - near.weight);  // [B, heads, N, 9]
  const auto for_each_patch = [&](const at::Tensor& values) {
    return values.unsqueeze(2).expand({-1, -1, patches, -1});
  };
  const at::Tensor all =
      at::cat({for_each_patch(scores.narrow(2, 0, others)), near_scores, for_each_patch(constant_score)}, 3);
  const at::Tensor shown = near.weight.gt(0).to(at::kFloat);  // [N, 9]
  const at::Tensor times =
      at::cat({at::ones({patches, others}, shown.options()), shown, patches - shown.sum(1, true)}, 1);
  const at::Tensor weighted = (all - all.amax(3, true)).exp() * times;
  const at::Tensor share = weighted / weighted.sum(3, true);  // [B, heads, N, R + 9 + 1]

  const at::Tensor other_share = share.narrow(3, 0, others),
                   near_share = share.narrow(3, others, near.index.size(1)) * near.weight;
  const at::Tensor constant_share = 1 - other_share.sum(3, true) - near_share.sum(3, true);
  const at::Tensor near_values =
      neighbours(of.value, 2).view({-1, heads, patches, near.index.size(1), width});
  return other_share.matmul(of.value.narrow(2, 0, others)) +
         near_share.unsqueeze(3).matmul(near_values).squeeze(3) + constant_share * constant.value;
}

/// Tokens [B, T, D], those before the patches 0 unless they are shown.
at::Tensor shown_tokens(const at::Tensor& tokens, std::int64_t others, const ReciprocamConfig& config) {
  if (config.keep_auxiliary) return tokens;
  return at::cat(
      {at::zeros_like(tokens.narrow(1, 0, others)), tokens.narrow(1, others, tokens.size(1) - others)}, 1);
}

/// `tokens` [n, T, D] that enter `layer`, with the context tokens of `seen` [n, T, D].
at::Tensor with_contexts_of(const at::Tensor& seen, const at::Tensor& tokens, const VitShape& shape) {
  const std::int64_t keys = std::ssize(shape.context.keys), others = tokens_before_patches(shape);
  const at::Tensor contexts = seen.narrow(1, others - keys, keys).to(tokens.scalar_type());
  return at::cat({tokens.narrow(1, 0, others - keys), contexts.expand({tokens.size(0), -1, -1}),
                  tokens.narrow(1, others, tokens.size(1) - others)},
                 1);
}

/// Whether context tokens are made anew for what enters `layer`.
bool has_own_contexts(const VitShape& shape, std::size_t layer) {
  return !shape.context.keys.empty() && (layer == 0 || is_layerwise(shape.context.amortization));
}

at::Tensor scores_of(const at::Tensor& logits, const ReciprocamConfig& config) {
  const at::Tensor values = logits.to(at::kFloat);
  return config.score == MapScore::softmax ? values.softmax(-1) : values;
}

/// A block, what enters it, and what it is shown of that.
struct MaskedBlock {
  Block& block;
  at::Tensor stream, normalised;  // [B, T, D]
};

MaskedBlock masked_block(VisionTransformer& model, const Trail& trail, const ReciprocamConfig& config) {
  COHORT_CHECK(config.block >= 1 && config.block <= std::ssize(trail.inputs), "block {} from the end",
               config.block);
  const std::size_t layer = trail.inputs.size() - static_cast<std::size_t>(config.block);
  const std::int64_t others = tokens_before_patches(model.shape());
  Block& block = model.block(layer);
  const at::Tensor& tokens = trail.inputs[layer];
  const at::Tensor normalised = shown_tokens(block.normalise(tokens), others, config);
  const bool is_norm = config.residual == MaskedResidual::norm;
  return {block, is_norm ? normalised : shown_tokens(tokens, others, config), normalised};
}

/// Logits [c, classes] of masked copies of image `image`, which come out of the masked block as `tokens` [c,
/// T, D].
at::Tensor finish_copies(VisionTransformer& model, const Trail& trail, at::Tensor tokens, std::int64_t image,
                         std::size_t next) {
  const std::size_t depth = trail.inputs.size();
  const bool is_cls = model.shape().pooling == Pooling::cls;
  for (std::size_t layer = next; layer < depth; ++layer) {
    if (has_own_contexts(model.shape(), layer))
      tokens = with_contexts_of(trail.inputs[layer].narrow(0, image, 1), tokens, model.shape());
    tokens = model.block(layer).forward(tokens, {}, is_cls && layer + 1 == depth ? 1 : tokens.size(1));
  }
  return model.finish(tokens, Encoder::logits).logits;
}

/// cls alone, where the last block is masked. [B, N, classes].
at::Tensor from_cls_alone(VisionTransformer& model, const Trail& trail, PatchGrid grid,
                          const ReciprocamConfig& config) {
  const auto [block, stream, normalised] = masked_block(model, trail, config);
  const std::int64_t images = stream.size(0), others = tokens_before_patches(model.shape()),
                     patches = stream.size(1) - others, width = stream.size(2);
  const auto of = block.attention().project(normalised),
             constant = block.attention().project(at::zeros({1, 1, width}, normalised.options()));
  const Neighbourhood near = on_device(neighbourhood(config, grid, patches), stream);
  const at::Tensor attended = block.attention().join(masked_attention(of, constant, others, near));
  const at::Tensor cls = stream.narrow(1, 0, 1).expand({images, patches, width});
  const at::Tensor answers = block.finish(cls, attended, Conditions{}).reshape({images * patches, 1, width});
  return model.finish(answers, Encoder::logits).logits.view({images, patches, -1});
}

void check_grid(const VisionTransformer& model, const Trail& trail, PatchGrid grid) {
  const std::int64_t patches = trail.inputs.back().size(1) - tokens_before_patches(model.shape());
  COHORT_CHECK(model.shape().classes > 0 && patches % grid.count() == 0,
               "saliency of {} patches on a grid of {} x {}", patches, grid.rows, grid.columns);
}

}  // namespace

std::span<const config::EnumName<PlaceMask>> enum_names(PlaceMask) {
  static constexpr std::array<config::EnumName<PlaceMask>, 3> names{
      {{PlaceMask::delta, "delta"}, {PlaceMask::gaussian, "gaussian"}, {PlaceMask::square, "square"}}};
  return names;
}

std::span<const config::EnumName<MaskedResidual>> enum_names(MaskedResidual) {
  static constexpr std::array<config::EnumName<MaskedResidual>, 2> names{
      {{MaskedResidual::block, "block"}, {MaskedResidual::norm, "norm"}}};
  return names;
}

std::span<const config::EnumName<MapScore>> enum_names(MapScore) {
  static constexpr std::array<config::EnumName<MapScore>, 2> names{
      {{MapScore::logit, "logit"}, {MapScore::softmax, "softmax"}}};
  return names;
}

Trail encode_with_trail(VisionTransformer& model, const at::Tensor& images, const Conditions& conditions) {
  Trail trail;
  Sequence sequence = model.embed(images, conditions);
  const auto depth = static_cast<std::size_t>(model.shape().depth);
  for (std::size_t layer = 0; layer < depth; ++layer) {
    trail.inputs.push_back(sequence.tokens);
    sequence.tokens = model.blocks(sequence, layer, layer + 1, conditions);
  }
  trail.logits = model.finish(sequence.tokens, Encoder::logits).logits;
  return trail;
}

Trail encode_beside(VisionTransformer& model, const at::Tensor& images, const Conditions& conditions,
                    const Trail& seen, const at::Tensor& from) {
  Conditions own = conditions;
  for (at::Tensor* column : {&own.context, &own.group, &own.sample})
    if (column->defined()) *column = column->index_select(0, from);
  Trail trail;
  Sequence sequence = model.embed(images, own);
  const auto depth = static_cast<std::size_t>(model.shape().depth);
  for (std::size_t layer = 0; layer < depth; ++layer) {
    if (has_own_contexts(model.shape(), layer))
      sequence.tokens =
          with_contexts_of(seen.inputs[layer].index_select(0, from), sequence.tokens, model.shape());
    trail.inputs.push_back(sequence.tokens);
    sequence.tokens = model.blocks(sequence, layer, layer + 1, own);
  }
  trail.logits = model.finish(sequence.tokens, Encoder::logits).logits;
  return trail;
}

at::Tensor attention_weights(const VisionTransformer& model, std::int64_t layer, const at::Tensor& tokens) {
  Block& block = model.block(static_cast<std::size_t>(layer));
  const auto of = block.attention().project(block.normalise(tokens));
  const double scale = 1.0 / std::sqrt(static_cast<double>(of.query.size(3)));
  return at::softmax(of.query.matmul(of.key.transpose(2, 3)) * scale, -1);
}

at::Tensor attention_of_answer(const VisionTransformer& model, const Trail& trail) {
  const std::int64_t others = tokens_before_patches(model.shape());
  const at::Tensor attention =
      attention_weights(model, std::ssize(trail.inputs) - 1, trail.inputs.back());  // [B, heads, T, T]
  const std::int64_t patches = attention.size(3) - others;
  const at::Tensor of_answer = model.shape().pooling == Pooling::cls
                                   ? attention.select(2, 0)
                                   : attention.narrow(2, others, patches).mean(2);
  return of_answer.narrow(2, others, patches);
}

at::Tensor attention_rollout(const VisionTransformer& model, const Trail& trail) {
  const std::int64_t others = tokens_before_patches(model.shape());
  at::Tensor flow;  // [B, 1, T]: of cls or the mean of the patches, from the last block back
  for (std::int64_t layer = std::ssize(trail.inputs) - 1; layer >= 0; --layer) {
    const at::Tensor attention =
        attention_weights(model, layer, trail.inputs[static_cast<std::size_t>(layer)]).mean(1);
    if (!flow.defined()) {
      flow = at::zeros({attention.size(0), 1, attention.size(1)}, attention.options());
      const std::int64_t patches = attention.size(1) - others;
      if (model.shape().pooling == Pooling::cls)
        flow.select(2, 0).fill_(1);
      else
        flow.narrow(2, others, patches).fill_(1.0 / static_cast<double>(patches));
    }
    flow = (flow.matmul(attention) + flow) / 2;
  }
  return flow.squeeze(1).narrow(1, others, flow.size(2) - others);
}

at::Tensor reciprocam(VisionTransformer& model, const Trail& trail, PatchGrid grid,
                      const ReciprocamConfig& config) {
  if (config.block > 1 || model.shape().pooling != Pooling::cls)
    return reciprocam_by_copies(model, trail, grid, config);
  check_grid(model, trail, grid);
  return scores_of(from_cls_alone(model, trail, grid, config), config).transpose(1, 2);
}

at::Tensor reciprocam_by_copies(VisionTransformer& model, const Trail& trail, PatchGrid grid,
                                const ReciprocamConfig& config) {
  check_grid(model, trail, grid);
  const auto [block, stream, normalised] = masked_block(model, trail, config);
  const std::size_t next = trail.inputs.size() - static_cast<std::size_t>(config.block) + 1;
  const std::int64_t images = stream.size(0), others = tokens_before_patches(model.shape()),
                     patches = stream.size(1) - others;
  const bool cls_alone = config.block == 1 && model.shape().pooling == Pooling::cls;
  const std::int64_t kept = cls_alone ? 1 : stream.size(1);
  const Neighbourhood near = on_device(neighbourhood(config, grid, patches), stream);
  std::vector<at::Tensor> answers;
  for (std::int64_t image = 0; image < images; ++image) {
    for (std::int64_t first = 0; first < patches; first += config.chunk) {
      const std::int64_t count = std::min(config.chunk, patches - first);
      const at::Tensor masks = masks_of(near, first, count);
      const at::Tensor weight = at::cat({at::ones({count, others}, masks.options()), masks}, 1).unsqueeze(2);
      const at::Tensor copies = normalised.narrow(0, image, 1) * weight,
                       kept_stream = (stream.narrow(0, image, 1) * weight).narrow(1, 0, kept).contiguous();
      at::Tensor tokens = block.finish(kept_stream, block.attention().forward(copies, kept), Conditions{});
      answers.push_back(finish_copies(model, trail, std::move(tokens), image, next));
    }
  }
  return scores_of(at::cat(answers).view({images, patches, -1}), config).transpose(1, 2);
}

at::Tensor reciprocam(ResNet& model, const at::Tensor& map, const ReciprocamConfig& config) {
  const std::int64_t images = map.size(0), places = map.size(2) * map.size(3);
  const Neighbourhood near = on_device(neighbourhood(config, {map.size(2), map.size(3)}, places), map);
  std::vector<at::Tensor> answers;
  for (std::int64_t image = 0; image < images; ++image) {
    for (std::int64_t first = 0; first < places; first += config.chunk) {
      const std::int64_t count = std::min(config.chunk, places - first);
      const at::Tensor masks = masks_of(near, first, count).view({count, 1, map.size(2), map.size(3)});
      answers.push_back(model.logits_from(ResNet::kStages + 1 - static_cast<std::size_t>(config.block),
                                          map.narrow(0, image, 1) * masks));
    }
  }
  return scores_of(at::cat(answers).view({images, places, -1}), config).transpose(1, 2);
}

at::Tensor scaled_maps(const at::Tensor& maps) {
  const at::Tensor low = maps.amin(-1, true), range = maps.amax(-1, true) - low;
  return (maps - low) / (range + kLeastRange);
}

}  // namespace cohort::nn
