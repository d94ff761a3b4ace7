// The body of the kernel, replayed on the CPU, against ATen.
#include "nn/segment_sums.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace cohort::nn {
namespace {

struct Sums {
  at::Tensor table, gradient;
};

template <class Sum>
Sums with_gradient(const at::Tensor& means, const at::Tensor& weights, const Sum& sum) {
  const at::Tensor values = means.detach().clone().requires_grad_();
  const at::Tensor table = sum(values);
  (table * weights).sum().backward();
  return {table.detach(), values.grad()};
}

at::Tensor by_aten(const at::Tensor& means, const at::Tensor& segment, std::int64_t rows) {
  const at::Tensor all =
      at::cat({means, at::ones({means.size(0), 1}, means.options())}, 1).repeat({segment.size(0), 1});
  return at::zeros({rows, all.size(1)}, all.options()).index_add(0, segment.flatten(), all);
}

TEST(SegmentSums, HaveTheBitsOfATenForwardAndBackward) {
  at::manual_seed(1);
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    for (const std::int64_t keys : {1, 2, 3}) {
      constexpr std::int64_t kImages = 37, kWidth = 19, kRows = 40;
      const at::Tensor means = at::randn({kImages, kWidth}, type),
                       weights = at::randn({kRows, kWidth + 1}, type);
      // Few rows of each key, so that many images share one and most rows stay empty.
      const at::Tensor segment =
          at::randint(5, {keys, kImages}, at::kLong) + 10 * at::arange(keys).unsqueeze(1);

      const Sums aten =
          with_gradient(means, weights, [&](const at::Tensor& v) { return by_aten(v, segment, kRows); });
      const Sums ours =
          with_gradient(means, weights, [&](const at::Tensor& v) { return segment_sums(v, segment, kRows); });

      EXPECT_TRUE(at::equal(ours.table, aten.table)) << keys << " keys";
      EXPECT_TRUE(at::equal(ours.gradient, aten.gradient)) << keys << " keys";
      EXPECT_EQ(ours.table.select(1, kWidth).sum().item<double>(), static_cast<double>(keys * kImages));
    }
  }
}

TEST(SegmentSums, OfTransposedViewsAreRight) {
  const at::Tensor means = at::arange(6, at::kFloat).view({2, 3}).t();  // [3, 2]
  const at::Tensor segment = at::tensor({0, 0, 1}, at::kLong).view({1, 3});
  const at::Tensor expected = at::tensor({1.0F, 7.0F, 2.0F, 2.0F, 5.0F, 1.0F}).view({2, 3});
  EXPECT_TRUE(at::equal(segment_sums(means, segment, 2), expected));
}

}  // namespace
}  // namespace cohort::nn
