#include "eval/keypoints.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace cohort::eval {

at::Tensor suppressed(const at::Tensor& heat, std::int64_t window) {
  const at::Tensor most =
      at::max_pool2d(heat.unsqueeze(0).unsqueeze(0), {window, window}, {1, 1}, {window / 2, window / 2})
          .squeeze(0)
          .squeeze(0);
  return at::where(heat.eq(most), heat, at::zeros_like(heat));
}

std::vector<Keypoint> keypoints(const at::Tensor& heat, std::int64_t window, double threshold) {
  const at::Tensor peaks = suppressed(heat, window).to(at::kDouble).contiguous();
  const auto* value = peaks.const_data_ptr<double>();
  std::vector<Keypoint> points;
  for (std::int64_t i = 0; i < peaks.numel(); ++i)
    if (value[i] > threshold) points.push_back({i / peaks.size(1), i % peaks.size(1), value[i]});
  std::stable_sort(points.begin(), points.end(),
                   [](const Keypoint& a, const Keypoint& b) { return a.score > b.score; });
  return points;
}

at::Tensor mutual_matches(const at::Tensor& first, const at::Tensor& second) {
  if (first.size(0) == 0 || second.size(0) == 0) return at::zeros({0, 2}, at::kLong);
  const at::Tensor similar = at::mm(first.to(at::kDouble), second.to(at::kDouble).t());
  const auto most_similar = [](const at::Tensor& of) {  // argmax does not say which of equal ones it takes
    const at::Tensor numbers = at::arange(of.size(1)).expand_as(of);
    return at::where(of.eq(of.amax(1, true)), numbers, of.size(1)).amin(1);
  };
  const at::Tensor forth = most_similar(similar), back = most_similar(similar.t());
  const at::Tensor numbers = at::arange(first.size(0));
  const at::Tensor mutual = back.index_select(0, forth).eq(numbers).nonzero().squeeze(1);
  return at::stack({mutual, forth.index_select(0, mutual)}, 1);
}

at::Tensor matching_errors(const at::Tensor& first, const at::Tensor& second, const at::Tensor& homography) {
  const at::Tensor places = first.to(at::kDouble), map = homography.to(at::kDouble);
  const at::Tensor moved = at::mm(at::cat({places, at::ones({places.size(0), 1}, at::kDouble)}, 1), map.t());
  const at::Tensor projected = moved.narrow(1, 0, 2) / moved.narrow(1, 2, 1);
  return (second.to(at::kDouble) - projected).square().sum(1).sqrt();
}

}  // namespace cohort::eval
