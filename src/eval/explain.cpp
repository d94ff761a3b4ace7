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
#include "cohort/nn/explain.h"

#include "eval/asked_groups.h"
#include "eval/explained_group.h"
#include "eval/unit_rows.h"

namespace cohort::eval {
namespace {

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
    if (found.saliency.defined())
      saliency.push_back(nn::scaled_maps(found.saliency.flatten(2)).view_as(found.saliency));
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
