#include "cohort/nn/explain.h"

#include <array>
#include <cmath>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

#include "block.h"

namespace cohort::nn {
namespace {

constexpr double kLeastRange = 1e-12;

/// The patches that a mask shows with each of `patches`: [N, 9], and their weights.
struct Neighbourhood {
  at::Tensor index, weight;
};

Neighbourhood neighbourhood(PatchMask mask, PatchGrid grid, std::int64_t patches) {
  static constexpr std::array<double, 3> kKernel{1, 2, 1};
  std::vector<std::int64_t> index;
  std::vector<float> weight;
  for (std::int64_t n = 0; n < patches; ++n) {
    const std::int64_t first = n - n % grid.count();  // of the channel
    const std::int64_t row = n % grid.count() / grid.columns, column = n % grid.columns;
    for (std::int64_t y = -1; y <= 1; ++y) {
      for (std::int64_t x = -1; x <= 1; ++x) {
        const bool inside =
            row + y >= 0 && row + y < grid.rows && column + x >= 0 && column + x < grid.columns;
        const double gaussian =
            kKernel.at(static_cast<std::size_t>(y + 1)) * kKernel.at(static_cast<std::size_t>(x + 1)) / 16;
        const double delta = y == 0 && x == 0 ? 1.0 : 0.0;
        index.push_back(inside ? first + (row + y) * grid.columns + column + x : n);
        weight.push_back(inside ? static_cast<float>(mask == PatchMask::delta ? delta : gaussian) : 0.0F);
      }
    }
  }
  return {at::tensor(index, at::kLong).view({patches, -1}), at::tensor(weight).view({patches, -1})};
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

}  // namespace

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

at::Tensor attention_weights(const VisionTransformer& model, std::int64_t layer, const at::Tensor& tokens) {
  Block& block = model.block(static_cast<std::size_t>(layer));
  const auto of = block.attention().project(block.normalise(tokens));
  const double scale = 1.0 / std::sqrt(static_cast<double>(of.query.size(3)));
  return at::softmax(of.query.matmul(of.key.transpose(2, 3)) * scale, -1);
}

at::Tensor attention_rollout(const VisionTransformer& model, const Trail& trail) {
  const std::int64_t others = tokens_before_patches(model.shape());
  at::Tensor flow;  // [B, 1, T]: of cls, from the last block back
  for (std::int64_t layer = std::ssize(trail.inputs) - 1; layer >= 0; --layer) {
    const at::Tensor attention =
        attention_weights(model, layer, trail.inputs[static_cast<std::size_t>(layer)]).mean(1);
    if (!flow.defined()) {
      flow = at::zeros({attention.size(0), 1, attention.size(1)}, attention.options());
      flow.select(2, 0).fill_(1);
    }
    flow = (flow.matmul(attention) + flow) / 2;
  }
  return flow.squeeze(1).narrow(1, others, flow.size(2) - others);
}

at::Tensor reciprocam(VisionTransformer& model, const Trail& trail, PatchGrid grid,
                      const ReciprocamConfig& config) {
  const at::Tensor& tokens = trail.inputs.back();
  const std::int64_t images = tokens.size(0), others = tokens_before_patches(model.shape()),
                     patches = tokens.size(1) - others, width = tokens.size(2);
  COHORT_CHECK(model.shape().classes > 0 && patches % grid.count() == 0,
               "saliency of {} patches on a grid of {} x {}", patches, grid.rows, grid.columns);
  Block& block = model.block(trail.inputs.size() - 1);
  const at::Tensor normalised = block.normalise(tokens);
  const auto of = block.attention().project(normalised),
             constant = block.attention().project(at::zeros({1, 1, width}, tokens.options()));
  Neighbourhood near = neighbourhood(config.mask, grid, patches);
  near = {near.index.to(tokens.device()), near.weight.to(tokens.device())};
  const at::Tensor attended = block.attention().join(masked_attention(of, constant, others, near));
  const at::Tensor& stream = config.residual == MaskedResidual::block ? tokens : normalised;
  const at::Tensor cls = stream.narrow(1, 0, 1).expand({images, patches, width});
  const at::Tensor answers = block.finish(cls, attended, Conditions{}).reshape({images * patches, 1, width});
  return model.finish(answers, Encoder::logits).logits.view({images, patches, -1}).transpose(1, 2);
}

at::Tensor scaled_maps(const at::Tensor& maps) {
  const at::Tensor low = maps.amin(-1, true), range = maps.amax(-1, true) - low;
  return (maps - low) / (range + kLeastRange);
}

}  // namespace cohort::nn
