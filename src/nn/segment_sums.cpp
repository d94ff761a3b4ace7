#include "nn/segment_sums.h"

#include <ATen/Dispatch.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include "cohort/core/error.h"

#include "nn/segment_sums_body.h"
#ifdef COHORT_CUDA
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "nn/segment_sums_kernel.h"
#endif

namespace cohort::nn {
namespace {

template <class Value>
void replay(const SegmentSums<Value>& sums, std::int64_t rows) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column <= sums.width; ++column) sum_segment(sums, row, column);
  }
}

template <class Value>
void replay(const SegmentGradients<Value>& gradients) {
  for (std::int64_t image = 0; image < gradients.images; ++image) {
    for (std::int64_t column = 0; column < gradients.width; ++column)
      gather_segment(gradients, image, column);
  }
}

template <class... Arguments>
void compute(const at::Tensor& values, const Arguments&... arguments) {
  if (values.is_cpu()) return replay(arguments...);
#ifdef COHORT_CUDA
  const c10::cuda::CUDAGuard guard(values.device());
  C10_CUDA_CHECK(launch(arguments..., c10::cuda::getCurrentCUDAStream()));
#else
  COHORT_CHECK(false, "segment sums on {} in a build without CUDA", values.device().str());
#endif
}

struct SegmentSumsFunction : torch::autograd::Function<SegmentSumsFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& means,
                            const at::Tensor& segment, std::int64_t rows) {
    const at::Tensor values = means.contiguous(), places = segment.contiguous();
    context->save_for_backward({places});
    at::Tensor table = at::empty({rows, values.size(1) + 1}, values.options());
    AT_DISPATCH_FLOATING_TYPES(values.scalar_type(), "segment_sums", [&] {
      compute(values,
              SegmentSums<scalar_t>{values.const_data_ptr<scalar_t>(), places.const_data_ptr<std::int64_t>(),
                                    table.mutable_data_ptr<scalar_t>(), values.size(0), values.size(1),
                                    places.numel()},
              rows);
    });
    return table;
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    const at::Tensor places = context->get_saved_variables()[0], table = gradients[0].contiguous();
    at::Tensor means = at::empty({places.size(1), table.size(1) - 1}, table.options());
    AT_DISPATCH_FLOATING_TYPES(table.scalar_type(), "segment_sums_backward", [&] {
      compute(table, SegmentGradients<scalar_t>{
                         table.const_data_ptr<scalar_t>(), places.const_data_ptr<std::int64_t>(),
                         means.mutable_data_ptr<scalar_t>(), means.size(0), means.size(1), places.numel()});
    });
    return {means, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor segment_sums(const at::Tensor& means, const at::Tensor& segment, std::int64_t rows) {
  COHORT_CHECK(means.dim() == 2 && segment.dim() == 2 && segment.size(1) == means.size(0) &&
                   segment.scalar_type() == at::kLong && segment.device() == means.device(),
               "means [B, D] and segments [K, B] i64 of one device were promised");
  return SegmentSumsFunction::apply(means, segment, rows);
}

}  // namespace cohort::nn
