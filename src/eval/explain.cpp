#include "cohort/eval/explain.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/data/batch.h"
#include "cohort/data/context_sampler.h"
#include "cohort/nn/explain.h"

#include "eval/passes.h"
#include "eval/unit_rows.h"

namespace cohort::eval {
namespace {

/// A group that has images to explain: their places in it, and among all that are asked for.
struct AskedGroup {
  data::Group group;
  std::vector<std::int64_t> inside, asked;
};

std::vector<AskedGroup> asked_groups(Passes passes, std::span<const std::int64_t> rows) {
  std::multimap<std::int64_t, std::int64_t> asked;  // row, place among those asked for
  for (std::size_t i = 0; i < rows.size(); ++i) asked.emplace(rows[i], static_cast<std::int64_t>(i));
  std::vector<AskedGroup> groups;
  for (data::StepPlan pass = passes.next(); !pass.empty(); pass = passes.next()) {
    for (data::Group& group : pass) {
      AskedGroup found;
      for (std::size_t i = 0; i < group.rows.size(); ++i) {
        const auto [first, last] = asked.equal_range(group.rows[i]);
        for (auto place = first; place != last; ++place) {
          found.inside.push_back(static_cast<std::int64_t>(i));
          found.asked.push_back(place->second);
        }
      }
      if (found.inside.empty()) continue;
      found.group = std::move(group);
      groups.push_back(std::move(found));
    }
  }
  return groups;
}

/// [..., N] on the grid of patches, on the CPU.
at::Tensor on_grid(const at::Tensor& maps, nn::PatchGrid grid) {
  std::vector<std::int64_t> shape(maps.sizes().begin(), maps.sizes().end() - 1);
  shape.insert(shape.end(), {maps.size(-1) / grid.count(), grid.rows, grid.columns});
  return maps.reshape(shape).to(at::kCPU, at::kFloat);
}

Explanation explain_group(nn::VisionTransformer& model, const data::Batch& batch,
                          const std::vector<std::int64_t>& inside) {
  const at::Device device = model.parameters().front().device();
  const nn::Conditions conditions = evaluation_conditions(batch, device);
  const at::Tensor& images = batch.views.front();
  nn::Trail trail = nn::encode_with_trail(model, images.to(device), conditions);
  const at::Tensor kept = at::tensor(inside, at::kLong).to(device);
  for (at::Tensor& input : trail.inputs) input = input.index_select(0, kept);

  const nn::PatchGrid grid{images.size(2) / model.shape().patch_size,
                           images.size(3) / model.shape().patch_size};
  const at::Tensor attention =
      nn::attention_weights(model, std::ssize(trail.inputs) - 1, trail.inputs.back());
  const at::Tensor rollout = nn::attention_rollout(model, trail);
  const std::int64_t patches = rollout.size(1);
  Explanation explanation;
  explanation.rollout = on_grid(rollout, grid);
  explanation.heads = on_grid(attention.select(2, 0).narrow(2, attention.size(3) - patches, patches), grid);
  if (!trail.logits.defined()) return explanation;
  explanation.logits = trail.logits.index_select(0, kept).to(at::kCPU, at::kFloat);
  explanation.saliency = on_grid(nn::scaled_maps(nn::reciprocam(model, trail, grid)), grid);
  return explanation;
}

}  // namespace

Explanation explain(nn::VisionTransformer& model, const data::Dataset& dataset,
                    std::span<const std::int64_t> rows, const std::string& group_by, const EvalConfig& config,
                    augment::Normalisation normalisation, comm::Communicator& ranks) {
  COHORT_CHECK(!model.runner().is_collective() && !rows.empty(), "the model and images to explain");
  const at::NoGradGuard no_gradients;
  std::vector<std::int64_t> asked;
  std::vector<at::Tensor> rollout, heads, saliency, logits;
  comm::together(ranks, [&] {
    const data::BatchColumns columns{model.shape().context.keys, ""};
    for (const std::string& key : columns.context_keys) (void)dataset.context_runs(key);
    const auto view = augment::evaluation_view(dataset.description(), normalisation);
    const std::vector<AskedGroup> groups = asked_groups(Passes(dataset, group_by, config), rows);
    Workers alone(1);
    for (std::size_t i = 0; i < groups.size(); ++i) {
      if (i % static_cast<std::size_t>(ranks.size()) != static_cast<std::size_t>(ranks.rank())) continue;
      const data::Batch batch =
          data::make_batch(dataset, std::span(&groups[i].group, 1), columns, *view, alone);
      const Explanation found = explain_group(model, batch, groups[i].inside);
      asked.insert(asked.end(), groups[i].asked.begin(), groups[i].asked.end());
      rollout.push_back(found.rollout);
      heads.push_back(found.heads);
      if (!found.logits.defined()) continue;
      saliency.push_back(found.saliency);
      logits.push_back(found.logits);
    }
  });
  const nn::VitShape& shape = model.shape();
  const data::ImageLayout& layout = dataset.description().images;
  const std::int64_t high = layout.height / shape.patch_size, wide = layout.width / shape.patch_size,
                     tokens = model.token_count(layout.channels, layout.height, layout.width) / (high * wide);
  const at::Tensor order = ranks.gather_rows(at::tensor(asked, at::kLong));
  Explanation all;
  all.rollout = in_order(rollout, {tokens, high, wide}, order, ranks);
  all.heads = in_order(heads, {shape.heads, tokens, high, wide}, order, ranks);
  if (shape.classes == 0) return all;
  all.saliency = in_order(saliency, {shape.classes, tokens, high, wide}, order, ranks);
  all.logits = in_order(logits, {shape.classes}, order, ranks);
  return all;
}

nn::VisionTransformer& explainable(nn::Encoder& model) {
  auto* const transformer = dynamic_cast<nn::VisionTransformer*>(&model);
  if (transformer == nullptr) {
    throw UsageError(
        {fmt::format("a {} has no attention to show", model.traits().kind), "model.name",
         "cohort explain is for vision transformers: look at its features with cohort knn, probe "
         "or extract"});
  }
  if (transformer->shape().pooling != nn::Pooling::cls) {
    throw UsageError({"the model answers by the mean of its patches, where no attention leads to the answer",
                      "model.pooling", "cohort explain is for models of model.pooling=cls"});
  }
  return *transformer;
}

SimilarImages::SimilarImages(const at::Tensor& queries, std::int64_t k, at::Tensor own)
    : queries_(unit_rows(queries)),
      own_(std::move(own)),
      k_(k),
      best_{at::full({queries.size(0), k}, std::numeric_limits<std::int64_t>::max(), at::kLong),
            at::full({queries.size(0), k}, -std::numeric_limits<float>::infinity())} {}

/// `rows` and `similarity` [n, m], besides those that are kept.
void SimilarImages::keep_best(const at::Tensor& rows, const at::Tensor& similarity) {
  const at::Tensor all_rows = at::cat({best_.row, rows}, 1), all = at::cat({best_.similarity, similarity}, 1),
                   by_row = all_rows.argsort(std::int64_t{1}, false),
                   order = std::get<1>(all.gather(1, by_row).sort(/*stable=*/true, 1, /*descending=*/true)),
                   kept = by_row.gather(1, order.narrow(1, 0, k_));
  best_ = {all_rows.gather(1, kept), all.gather(1, kept)};
}

void SimilarImages::add(const at::Tensor& rows, const at::Tensor& features) {
  at::Tensor cosine = queries_.matmul(unit_rows(features).t());
  if (own_.defined())
    cosine.masked_fill_(own_.unsqueeze(1).eq(rows), -std::numeric_limits<float>::infinity());
  keep_best(rows.expand_as(cosine), cosine);
}

Similar SimilarImages::finish(comm::Communicator& ranks) {
  const Similar mine = best_;
  const at::Tensor rows = ranks.gather_rows(mine.row.t().contiguous()),
                   similarity = ranks.gather_rows(mine.similarity.t().contiguous());
  best_ = {rows.narrow(0, 0, 0).t(), similarity.narrow(0, 0, 0).t()};
  keep_best(rows.t(), similarity.t());
  COHORT_CHECK(best_.similarity.isfinite().all().item<bool>(), "fewer than {} images, or not finite", k_);
  return best_;
}

ContextTokens::ContextTokens(std::int64_t contexts, std::int64_t width)
    : coarse_(at::zeros({contexts, width}, at::kLong)),
      fine_(at::zeros({contexts, width}, at::kLong)),
      images_(at::zeros({contexts}, at::kLong)) {}

void ContextTokens::add(const at::Tensor& contexts, const at::Tensor& tokens) {
  const at::Tensor scaled = tokens.to(at::kDouble) * 0x1p20, coarse = scaled.round();
  coarse_.index_add_(0, contexts, coarse.to(at::kLong));
  fine_.index_add_(0, contexts, ((scaled - coarse) * 0x1p32).round().to(at::kLong));
  images_.index_add_(0, contexts, at::ones_like(contexts));
}

void ContextTokens::add_up(comm::Communicator& ranks) {
  for (const at::Tensor& sums : {coarse_, fine_, images_}) ranks.all_reduce(sums).wait();
}

std::int64_t ContextTokens::images(std::int64_t context) const {
  return images_[context].item<std::int64_t>();
}

at::Tensor ContextTokens::mean(std::int64_t context) const {
  const at::Tensor sum =
      coarse_[context].to(at::kDouble) * 0x1p-20 + fine_[context].to(at::kDouble) * 0x1p-52;
  return sum / static_cast<double>(images(context));
}

Projection principal_components(const at::Tensor& tokens) {
  const at::Tensor centred = tokens.to(at::kDouble) - tokens.to(at::kDouble).mean(0, true);
  const auto [left, singular, right] = at::linalg_svd(centred, /*full_matrices=*/false);
  const std::int64_t directions = std::min<std::int64_t>(2, singular.size(0));
  const double variance = singular.square().sum().item<double>();
  Projection projection{at::zeros({tokens.size(0), 2}, at::kDouble), {}};
  for (std::int64_t i = 0; i < directions; ++i) {
    at::Tensor along = left.select(1, i) * singular[i];
    const at::Tensor largest = along.index({along.abs().argmax()});
    if (largest.item<double>() < 0) along = -along;
    projection.points.select(1, i).copy_(along);
    if (variance > 0)
      projection.shares.at(static_cast<std::size_t>(i)) = singular[i].square().item<double>() / variance;
  }
  return projection;
}

}  // namespace cohort::eval
