#include "cohort/method/image_text_losses.h"

#include <limits>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/method/matrix_information.h"

namespace cohort::method {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

// [B, B], row: image, column: text
at::Tensor cosines_of(const at::Tensor& images, const at::Tensor& texts) {
  COHORT_CHECK(images.sizes() == texts.sizes(), "{} images and {} texts", images.size(0), texts.size(0));
  return at::mm(unit_rows(images), unit_rows(texts).t());
}

// Of scores [B, B]: cross-entropy of each row with its own column, log(1 + sum of the others / own). A row
// that is nearly certain has a loss of as many digits as others.
at::Tensor mean_loss_of_rows(const at::Tensor& scores) {
  constexpr double kLeast =
      std::numeric_limits<float>::lowest() / 2;  // finite: one row alone has a gradient, 0
  const at::Tensor own = at::eye(scores.size(0), scores.options().dtype(at::kBool));
  const at::Tensor others = at::logsumexp(scores.masked_fill(own, kLeast), 1);
  return at::softplus(others - scores.diagonal()).mean();
}

// Of scores [b, N, N], row: anchor.
at::Tensor losses_of_anchors(const at::Tensor& scores, const at::Tensor& hits, const at::Tensor& valid) {
  const at::Tensor hit = hits.defined() ? (scores * hits).sum(2) : scores.diagonal(0, 1, 2);
  const at::Tensor others =
      valid.defined() ? scores.masked_fill(valid.logical_not().unsqueeze(1), kNever) : scores;
  return at::logsumexp(others, 2) - hit;
}

// [b, N], adding up to 1 over what is valid.
at::Tensor normalised_weights(const at::Tensor& weights, const at::Tensor& valid, const at::Tensor& like) {
  at::Tensor all =
      weights.defined() ? weights.detach() : at::ones({like.size(0), like.size(1)}, like.options());
  if (valid.defined()) all = all * valid;
  return all / all.sum(1, /*keepdim=*/true);
}

}  // namespace

at::Tensor cross_modal_nt_xent(const at::Tensor& images, const at::Tensor& texts, double temperature,
                               double image_weight) {
  const at::Tensor scores = cosines_of(images, texts) / temperature;
  return image_weight * mean_loss_of_rows(scores) + (1 - image_weight) * mean_loss_of_rows(scores.t());
}

double own_text_found(const at::Tensor& images, const at::Tensor& texts) {
  const at::Tensor cosines = cosines_of(images, texts);
  return cosines.diagonal().ge(cosines.amax(1)).sum().item<double>();
}

at::Tensor near_regions(std::int64_t height, std::int64_t width, double threshold, double beta) {
  const auto offsets = [](std::int64_t size, std::int64_t repeats, bool each) {
    const at::Tensor places = at::arange(size, at::kDouble);
    const at::Tensor all = each ? places.repeat_interleave(repeats) : places.repeat({repeats});
    return at::square(all.unsqueeze(0) - all.unsqueeze(1));  // [K, K]
  };
  const auto diagonal = static_cast<double>(height * height + width * width);  // squared
  const at::Tensor squares = offsets(height, width, true) + offsets(width, height, false);
  const at::Tensor near = squares.le(threshold * threshold * diagonal);
  const at::Tensor weights = at::exp(at::sqrt(squares / diagonal) / -beta) * near;
  return (weights / weights.sum(1, /*keepdim=*/true)).to(at::kFloat);
}

LocalContrast local_contrast(const at::Tensor& own, const at::Tensor& attended, const at::Tensor& hits,
                             const at::Tensor& valid, const at::Tensor& weights, double temperature) {
  COHORT_CHECK(own.sizes() == attended.sizes(), "{} own and {} attended vectors of a sample", own.size(1),
               attended.size(1));
  const auto units = [](const at::Tensor& vectors) {
    return unit_rows(vectors.flatten(0, 1)).view(vectors.sizes());
  };
  const at::Tensor scores = at::bmm(units(own), units(attended).transpose(1, 2)) / temperature;
  const at::Tensor shares = normalised_weights(weights, valid, scores);
  const auto of_samples = [&](const at::Tensor& of_anchors) {
    return (losses_of_anchors(of_anchors, hits, valid) * shares).sum(1);
  };
  return {of_samples(scores), of_samples(scores.transpose(1, 2))};
}

}  // namespace cohort::method
