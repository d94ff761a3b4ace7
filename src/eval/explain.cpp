#include "cohort/eval/explain.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/data/batch.h"
#include "cohort/data/context_sampler.h"
#include "cohort/nn/autocast.h"
#include "cohort/nn/explain.h"

#include "eval/asked_groups.h"
#include "eval/unit_rows.h"

namespace cohort::eval {
namespace {

/// [..., N] on the grid of patches, on the CPU.
at::Tensor on_grid(const at::Tensor& maps, nn::PatchGrid grid) {
  std::vector<std::int64_t> shape(maps.sizes().begin(), maps.sizes().end() - 1);
  shape.insert(shape.end(), {maps.size(-1) / grid.count(), grid.rows, grid.columns});
  return maps.reshape(shape).to(at::kCPU, at::kFloat);
}

/// `images` [B, C, H, W] of one group, of which those of the places `kept` [n] are explained.
Explanation explain_transformer(nn::VisionTransformer& model, const at::Tensor& images,
                                const nn::Conditions& conditions, const at::Tensor& kept,
                                const nn::ExplainerConfig& how) {
  const nn::Bf16Scope scope(how.bf16, images.device().type());
  nn::Trail trail = nn::encode_with_trail(model, images, conditions);
  for (at::Tensor& input : trail.inputs) input = input.index_select(0, kept);
  const nn::PatchGrid grid = nn::grid_of_maps(model.shape(), images.size(2), images.size(3));
  Explanation explanation;
  explanation.rollout = on_grid(nn::attention_rollout(model, trail), grid);
  explanation.heads = on_grid(nn::attention_of_answer(model, trail), grid);
  if (!trail.logits.defined()) return explanation;
  explanation.logits = trail.logits.index_select(0, kept).to(at::kCPU, at::kFloat);
  explanation.saliency = on_grid(nn::scaled_maps(nn::reciprocam(model, trail, grid, how.reciprocam)), grid);
  return explanation;
}

Explanation explain_maps(nn::Encoder& model, const at::Tensor& images, const nn::Conditions& conditions,
                         const at::Tensor& kept, const nn::ExplainerConfig& how) {
  const auto explainers = nn::explainers_of(model, how);
  explainers.front()->see(images, conditions);
  const nn::Explained found = explainers.front()->explain(images.index_select(0, kept), kept);
  const nn::PatchGrid grid{found.maps.size(3), found.maps.size(4)};
  return {.rollout = {},
          .heads = {},
          .saliency = on_grid(nn::scaled_maps(found.maps.flatten(2)), grid),
          .logits = found.logits.to(at::kCPU)};
}

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

/// What a rank found, a part for each group.
struct Parts {
  std::vector<std::int64_t> asked;
  std::vector<at::Tensor> rollout, heads, saliency, logits;

  void add(const AskedGroup& group, const Explanation& found) {
    asked.insert(asked.end(), group.asked.begin(), group.asked.end());
    const auto keep = [](std::vector<at::Tensor>& parts, const at::Tensor& part) {
      if (part.defined()) parts.push_back(part);
    };
    keep(rollout, found.rollout);
    keep(heads, found.heads);
    keep(saliency, found.saliency);
    keep(logits, found.logits);
  }
};

/// Collective. Those of all ranks, of `dims` sizes a row, in order; undefined where no rank has one.
at::Tensor of_all_ranks(const std::vector<at::Tensor>& parts, std::int64_t dims, const at::Tensor& order,
                        comm::Communicator& ranks) {
  if (ranks.max(std::ssize(parts)) == 0) return {};
  std::vector<std::int64_t> row_shape;
  for (std::int64_t dim = 1; dim <= dims; ++dim)
    row_shape.push_back(ranks.max(parts.empty() ? 0 : parts.front().size(dim)));
  return in_order(parts, row_shape, order, ranks);
}

DealtGroups dealt_groups_of(const data::Dataset& dataset, std::span<const std::int64_t> rows,
                            const std::string& group_by, const EvalConfig& config,
                            comm::Communicator& ranks) {
  std::multimap<std::int64_t, std::int64_t> asked;  // row, place among those asked for
  for (std::size_t i = 0; i < rows.size(); ++i) asked.emplace(rows[i], static_cast<std::int64_t>(i));
  const auto places = [asked = std::move(asked)](std::int64_t row) {
    std::vector<std::int64_t> found;
    const auto [first, last] = asked.equal_range(row);
    for (auto place = first; place != last; ++place) found.push_back(place->second);
    return found;
  };
  return {AskedGroups(Passes(dataset, group_by, config), places), ranks.rank(), ranks.size()};
}

}  // namespace

Explanation explain(nn::Encoder& model, const data::Dataset& dataset, std::span<const std::int64_t> rows,
                    const std::string& group_by, const EvalConfig& config,
                    augment::Normalisation normalisation, comm::Communicator& ranks,
                    const nn::ExplainerConfig& how) {
  COHORT_CHECK(!model.runner().is_collective() && !rows.empty(), "the model and images to explain");
  const at::NoGradGuard no_gradients;
  Parts parts;
  comm::together(ranks, [&] {
    const data::BatchColumns columns{model.traits().context_keys, ""};
    for (const std::string& key : columns.context_keys) (void)dataset.context_runs(key);
    const auto view = augment::evaluation_view(dataset.description(), normalisation);
    DealtGroups groups = dealt_groups_of(dataset, rows, group_by, config, ranks);
    Workers alone(1);
    while (const auto group = groups.next()) {
      const data::Batch batch = data::make_batch(dataset, std::span(&group->group, 1), columns, *view, alone);
      parts.add(*group, explain_group(model, batch, *group, how));
    }
  });
  const at::Tensor order = ranks.gather_rows(at::tensor(parts.asked, at::kLong));
  return {.rollout = of_all_ranks(parts.rollout, 3, order, ranks),
          .heads = of_all_ranks(parts.heads, 4, order, ranks),
          .saliency = of_all_ranks(parts.saliency, 4, order, ranks),
          .logits = of_all_ranks(parts.logits, 1, order, ranks)};
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
