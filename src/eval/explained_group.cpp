#include "eval/explained_group.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/nn/autocast.h"
#include "cohort/nn/explain.h"

#include "eval/passes.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kImagesTogether = 32;

/// [..., N] on the grid of patches, on the CPU.
at::Tensor on_grid(const at::Tensor& maps, nn::PatchGrid grid) {
  std::vector<std::int64_t> shape(maps.sizes().begin(), maps.sizes().end() - 1);
  shape.insert(shape.end(), {maps.size(-1) / grid.count(), grid.rows, grid.columns});
  return maps.reshape(shape).to(at::kCPU, at::kFloat);
}

/// Of the images of the places `kept` [n].
Explanation explain_trail(nn::VisionTransformer& model, const nn::Trail& trail, const at::Tensor& kept,
                          nn::PatchGrid grid, const nn::ReciprocamConfig& config) {
  nn::Trail part;
  for (const at::Tensor& input : trail.inputs) part.inputs.push_back(input.index_select(0, kept));
  Explanation explanation;
  explanation.rollout = on_grid(nn::attention_rollout(model, part), grid);
  explanation.heads = on_grid(nn::attention_of_answer(model, part), grid);
  if (!trail.logits.defined()) return explanation;
  explanation.logits = trail.logits.index_select(0, kept).to(at::kCPU, at::kFloat);
  explanation.saliency = on_grid(nn::reciprocam(model, part, grid, config), grid);
  return explanation;
}

/// Those of `parts` behind each other; undefined where they are.
at::Tensor joined(const std::vector<Explanation>& parts, at::Tensor Explanation::*maps) {
  std::vector<at::Tensor> all;
  for (const Explanation& part : parts)
    if ((part.*maps).defined()) all.push_back(part.*maps);
  return all.empty() ? at::Tensor() : at::cat(all);
}

/// `images` [B, C, H, W] of one group, of which those of the places `kept` [n] are explained.
Explanation explain_transformer(nn::VisionTransformer& model, const at::Tensor& images,
                                const nn::Conditions& conditions, const at::Tensor& kept,
                                const nn::ExplainerConfig& how) {
  const nn::Bf16Scope scope(how.bf16, images.device().type());
  const nn::Trail trail = nn::encode_with_trail(model, images, conditions);
  const nn::PatchGrid grid = nn::grid_of_maps(model.shape(), images.size(2), images.size(3));
  std::vector<Explanation> parts;
  for (std::int64_t first = 0; first < kept.size(0); first += kImagesTogether) {
    const at::Tensor part = kept.narrow(0, first, std::min(kImagesTogether, kept.size(0) - first));
    parts.push_back(explain_trail(model, trail, part, grid, how.reciprocam));
  }
  return {joined(parts, &Explanation::rollout), joined(parts, &Explanation::heads),
          joined(parts, &Explanation::saliency), joined(parts, &Explanation::logits)};
}

Explanation explain_maps(nn::Encoder& model, const at::Tensor& images, const nn::Conditions& conditions,
                         const at::Tensor& kept, const nn::ExplainerConfig& how) {
  const auto explainers = nn::explainers_of(model, how);
  explainers.front()->see(images, conditions);
  const nn::Explained found = explainers.front()->explain(images.index_select(0, kept), kept);
  return {
      .rollout = {}, .heads = {}, .saliency = found.maps.to(at::kCPU), .logits = found.logits.to(at::kCPU)};
}

}  // namespace

Explanation explain_group(nn::Encoder& model, const data::Batch& batch, const AskedGroup& group,
                          const nn::ExplainerConfig& how) {
  const at::Device device = model.parameters().front().device();
  const nn::Conditions conditions = evaluation_conditions(batch, device);
  const at::Tensor images = batch.views.front().to(device),
                   kept = at::tensor(group.inside, at::kLong).to(device);
  auto* const transformer = dynamic_cast<nn::VisionTransformer*>(&model);
  return transformer != nullptr ? explain_transformer(*transformer, images, conditions, kept, how)
                                : explain_maps(model, images, conditions, kept, how);
}

}  // namespace cohort::eval
