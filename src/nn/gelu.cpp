#include "gelu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "vector_math.h"

namespace cohort::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kValuesAtOnce = 4096;

struct Normal {
  Floats distribution, density;  // of the standard normal distribution
};

// erfc(z) = exp(-z^2) t P(t) with t = 1 / (1 + 0.4 z), for z >= 0; P has the least largest relative error of
// all polynomials of degree 9 up to z = 10, 8e-9.
COHORT_INLINE Normal normal(const Floats& x) {
  constexpr float kInverseRoot = 0.398942280f;  // 1 / sqrt(2 pi)
  const Floats gauss = exponential(-0.5f * x * x);
  const Floats z = (x < 0.0f ? -x : x) * 0.707106781f;
  const Floats t = 1.0f / (1.0f + 0.4f * z);
  Floats sum = t * -0.029594337608583352f + 0.19801321659696763f;
  sum = sum * t - 0.49881149641040257f;
  sum = sum * t + 0.5474354439749068f;
  sum = sum * t - 0.28436668664436954f;
  sum = sum * t + 0.27206623313259853f;
  sum = sum * t + 0.12967960344846818f;
  sum = sum * t + 0.21491910031439876f;
  sum = sum * t + 0.22495202177994977f;
  sum = sum * t + 0.2257069092449773f;
  const Floats tail = 0.5f * gauss * t * sum;
  return {x < 0.0f ? tail : 1.0f - tail, gauss * kInverseRoot};
}

template <class T>
struct Gelu {
  const T* input;
  T *output, *derivative;  // derivative: null where nobody asks for gradients
};

template <class T>
COHORT_INLINE void gelu_of(const Gelu<T>& of, std::int64_t begin, std::int64_t end) {
  for_each_vector(
      end - begin, [&](std::int64_t i, std::int64_t lanes) __attribute__((always_inline)) {
        const Floats x = load(of.input + begin + i, lanes);
        const Normal of_x = normal(x);
        store(of.output + begin + i, x * of_x.distribution, lanes);
        if (of.derivative == nullptr) return;
        store(of.derivative + begin + i, of_x.distribution + x * of_x.density, lanes);
      });
}

COHORT_INLINE void product_of(const c10::BFloat16* a, const c10::BFloat16* b, c10::BFloat16* product,
                              std::int64_t begin, std::int64_t end) {
  for_each_vector(
      end - begin, [&](std::int64_t i, std::int64_t lanes) __attribute__((always_inline)) {
        store(product + begin + i, load(a + begin + i, lanes) * load(b + begin + i, lanes), lanes);
      });
}

template <class T>
void gelu_of_all(const at::Tensor& input, const at::Tensor& output, const at::Tensor& derivative) {
  const Gelu<T> of{input.const_data_ptr<T>(), output.mutable_data_ptr<T>(),
                   derivative.defined() ? derivative.mutable_data_ptr<T>() : nullptr};
  at::parallel_for(0, input.numel(), kValuesAtOnce, [&](std::int64_t begin, std::int64_t end) {
    for_this_processor<gelu_of<T>>(of, begin, end);
  });
}

// GELU of a contiguous `input`; fills `derivative` where it is defined.
at::Tensor fused_gelu(const at::Tensor& input, const at::Tensor& derivative) {
  const at::Tensor output = at::empty_like(input);
  input.scalar_type() == at::kFloat ? gelu_of_all<float>(input, output, derivative)
                                    : gelu_of_all<c10::BFloat16>(input, output, derivative);
  return output;
}

// Keeps the derivative instead of the input: as much memory, and one product on the way back.
struct FusedGelu : torch::autograd::Function<FusedGelu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& any) {
    const at::Tensor input = any.contiguous(), derivative = at::empty_like(input);
    context->save_for_backward({derivative});
    return fused_gelu(input, derivative);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor gradient = gradients[0].contiguous(), derivative = context->get_saved_variables()[0];
    if (gradient.scalar_type() == at::kFloat) return {gradient * derivative};
    const at::Tensor product = at::empty_like(gradient);
    const auto* const a = gradient.const_data_ptr<c10::BFloat16>();
    const auto* const b = derivative.const_data_ptr<c10::BFloat16>();
    auto* const to = product.mutable_data_ptr<c10::BFloat16>();
    at::parallel_for(0, product.numel(), kValuesAtOnce, [&](std::int64_t begin, std::int64_t end) {
      for_this_processor<product_of>(a, b, to, begin, end);
    });
    return {product};
  }
};

}  // namespace

at::Tensor exact_gelu(const at::Tensor& input) {
  const bool fused =
      input.is_cpu() && (input.scalar_type() == at::kFloat || input.scalar_type() == at::kBFloat16);
  if (!fused) return at::gelu(input);
  const bool with_gradients = at::GradMode::is_enabled() && input.requires_grad();
  return with_gradients ? FusedGelu::apply(input) : fused_gelu(input.contiguous(), {});
}

}  // namespace cohort::nn
