#include "cohort/method/boxes.h"

#include <algorithm>
#include <tuple>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::method {
namespace {

double length_of(double low, double high, double longer) {
  return std::max(0.0, high - low + longer);
}

double area_of(const Box& box, double longer) {
  return length_of(box.x0, box.x1, longer) * length_of(box.y0, box.y1, longer);
}

struct Candidate {
  Box box;
  double confidence;
  std::int64_t of_class, row;
};

/// By class, then by falling confidence.
std::vector<Candidate> candidates_of(const at::Tensor& boxes, const at::Tensor& confidence, double least) {
  const at::Tensor values = boxes.to(at::kCPU, at::kDouble),
                   confidences = confidence.to(at::kCPU, at::kDouble);
  const auto value = values.accessor<double, 2>();
  const auto sure = confidences.accessor<double, 1>();
  std::vector<Candidate> candidates;
  for (std::int64_t row = 0; row < values.size(0); ++row) {
    const auto box = value[row];
    if (sure[row] >= least)
      candidates.push_back(
          {{box[0], box[1], box[2], box[3]}, sure[row], static_cast<std::int64_t>(box[4]), row});
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::tuple(a.of_class, -a.confidence, a.row) < std::tuple(b.of_class, -b.confidence, b.row);
  });
  return candidates;
}

}  // namespace

double overlap(const Box& a, const Box& b, double longer) noexcept {
  const double width = length_of(std::max(a.x0, b.x0), std::min(a.x1, b.x1), longer),
               height = length_of(std::max(a.y0, b.y0), std::min(a.y1, b.y1), longer);
  const double both = width * height;
  return both > 0 ? both / (area_of(a, longer) + area_of(b, longer) - both) : 0;
}

std::vector<std::int64_t> suppress_boxes(const at::Tensor& boxes, const at::Tensor& confidence,
                                         const Suppression& how) {
  COHORT_CHECK(boxes.dim() == 2 && boxes.size(1) == 5 && boxes.size(0) == confidence.size(0),
               "boxes of {} columns with {} confidences", boxes.size(-1), confidence.size(0));
  std::vector<Candidate> kept;
  std::vector<std::int64_t> rows;
  for (const Candidate& candidate : candidates_of(boxes, confidence, how.confidence)) {
    const bool is_said = std::any_of(kept.begin(), kept.end(), [&](const Candidate& other) {
      return other.of_class == candidate.of_class &&
             overlap(other.box, candidate.box, how.longer) >= how.overlap;
    });
    if (is_said) continue;
    kept.push_back(candidate);
    rows.push_back(candidate.row);
  }
  return rows;
}

}  // namespace cohort::method
