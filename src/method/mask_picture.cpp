#include "method/mask_picture.h"

#include <ATen/ATen.h>

namespace cohort::method {
namespace {

constexpr double kOpacity = 0.5;
constexpr std::int64_t kUnknown = 255;

}  // namespace

at::Tensor class_colours() {
  return at::tensor({1.0, 0.5, 0.1, 0.1, 0.6, 1.0, 0.3, 0.9, 0.4, 0.9, 0.3, 0.9,
                     1.0, 0.9, 0.2, 0.9, 0.2, 0.3, 0.3, 0.9, 0.9, 0.7, 0.5, 0.3},
                    at::kFloat)
                 .view({8, 3}) *
             4 -
         2;
}

at::Tensor mask_picture(const at::Tensor& images, const at::Tensor& mask) {
  const at::Tensor gray = images.to(at::kCPU, at::kFloat).mean(1, /*keepdim=*/true).expand({-1, 3, -1, -1}),
                   classes = mask.to(at::kCPU, at::kLong);
  const at::Tensor is_coloured = classes.gt(0).logical_and_(classes.ne(kUnknown)).unsqueeze(1);
  const at::Tensor colours = class_colours()
                                 .index_select(0, (classes - 1).clamp_min(0).remainder(8).flatten())
                                 .view({classes.size(0), classes.size(1), classes.size(2), 3})
                                 .permute({0, 3, 1, 2});
  return at::where(is_coloured, gray * (1 - kOpacity) + colours * kOpacity, gray);
}

}  // namespace cohort::method
