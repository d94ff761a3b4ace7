#include "linear.h"

#include <exception>
#include <optional>
#include <string_view>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include "column_sums.h"

namespace cohort::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Multiplications below which the set-up of oneDNN costs more than it saves.
constexpr std::int64_t kLargeProduct = std::int64_t{1} << 24;

// oneDNN's product for dense tensors, as torch.compile uses it; absent from builds of LibTorch without
// oneDNN.
using Product = at::Tensor(const at::Tensor& input, const at::Tensor& weight,
                           const std::optional<at::Tensor>& bias, std::string_view activation,
                           c10::List<std::optional<at::Scalar>> scalars,
                           std::optional<std::string_view> algorithm);

const std::optional<c10::TypedOperatorHandle<Product>>& onednn() {
  static const auto handle = []() -> std::optional<c10::TypedOperatorHandle<Product>> {
    const auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!found || !found->hasKernelForDispatchKey(c10::DispatchKey::CPU)) return std::nullopt;
    return found->typed<Product>();
  }();
  return handle;
}

at::Tensor product_of_onednn(const at::Tensor& input, const at::Tensor& weight,
                             const std::optional<at::Tensor>& bias) {
  return onednn()->call(input, weight, bias, "none", c10::List<std::optional<at::Scalar>>(), "none");
}

// oneDNN has products of bf16 for some processors only, which ONEDNN_MAX_CPU_ISA can make fewer, and nothing
// in LibTorch asks it: a product tells.
bool onednn_has_bf16() {
  const at::Tensor ones = at::ones({16, 16}, at::kBFloat16);
  try {
    product_of_onednn(ones, ones, {});
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

std::optional<at::Tensor> widened(const std::optional<at::Tensor>& values) {
  return values ? std::optional(values->to(at::kFloat)) : std::nullopt;
}

// input [rows, k] times the transpose of weight [n, k], of any strides; of bf16 with sums in fp32
at::Tensor product(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  if (input.scalar_type() == at::kFloat || has_bf16_products()) return product_of_onednn(input, weight, bias);
  return product_of_onednn(input.to(at::kFloat), weight.to(at::kFloat), widened(bias)).to(at::kBFloat16);
}

// The same of a [m, k] and b [k, n] in bf16.
at::Tensor narrow_product(const at::Tensor& a, const at::Tensor& b) {
  if (has_bf16_products()) return at::mm(a, b);
  return at::mm(a.to(at::kFloat), b.to(at::kFloat)).to(at::kBFloat16);
}

std::optional<at::Tensor> if_defined(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

// [n, k] from rows [m, n] and input [m, k], whose columns are what is multiplied: oneDNN has to turn one of
// them over, which costs least for the narrower one.
at::Tensor gradient_of_weight(const at::Tensor& rows, const at::Tensor& input) {
  return rows.size(1) < input.size(1) ? product(rows.t(), input.t(), {})
                                      : product(input.t(), rows.t(), {}).t();
}

// bf16 copy of a weight, shared by the passes of an autocast scope.
at::Tensor narrow(const at::Tensor& weight) {
  return at::autocast::cached_cast(at::kBFloat16, weight, at::kCPU);
}

// A bias that is left out is no input, and cannot be asked about.
bool needs_bias_gradient(AutogradContext& context) {
  return context.saved_data["shifts"].toBool() && context.needs_input_grad(2);
}

// What autocast makes of a linear layer, without autograd's records of its casts. All uses of a weight under
// autocast come here: autocast's copy of it, kept until the scope ends, has no gradient.
struct NarrowLinear : torch::autograd::Function<NarrowLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    const at::Tensor values = input.to(at::kBFloat16), matrix = narrow(weight);
    context->save_for_backward({values, matrix});
    context->saved_data["type"] = input.scalar_type();
    context->saved_data["shifts"] = bias.has_value();
    return product(values, matrix, bias ? std::optional(bias->to(at::kBFloat16)) : std::nullopt);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor rows = gradients[0].reshape({-1, gradients[0].size(-1)});
    at::Tensor input_gradient, weight_gradient, bias_gradient;
    if (context->needs_input_grad(0)) {
      input_gradient = product(rows, saved[1].t(), {})
                           .view(saved[0].sizes())
                           .to(context->saved_data["type"].toScalarType());
    }
    if (context->needs_input_grad(1))
      weight_gradient = narrow_product(rows.t(), saved[0].reshape({-1, saved[0].size(-1)}));
    if (needs_bias_gradient(*context)) bias_gradient = column_sums(rows);
    return {input_gradient, weight_gradient, bias_gradient};
  }
};

struct LargeLinear : torch::autograd::Function<LargeLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    context->save_for_backward({input, weight});
    context->saved_data["shifts"] = bias.has_value();
    return product(input, weight, bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor rows = gradients[0].reshape({-1, gradients[0].size(-1)});
    at::Tensor input_gradient, weight_gradient, bias_gradient;
    if (context->needs_input_grad(0)) input_gradient = product(rows, saved[1].t(), {}).view(saved[0].sizes());
    if (context->needs_input_grad(1)) {
      weight_gradient = gradient_of_weight(rows, saved[0].reshape({-1, saved[0].size(-1)}));
    }
    if (needs_bias_gradient(*context)) bias_gradient = rows.sum(0);
    return {input_gradient, weight_gradient, bias_gradient};
  }
};

bool pays(const at::Tensor& input, const at::Tensor& weight) {
  return input.is_cpu() && input.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat &&
         !narrows_products(at::kCPU) && input.numel() * weight.size(0) >= kLargeProduct &&
         onednn().has_value();
}

// Under autocast; LibTorch's own products of bf16 are left alone where it has fast ones.
bool is_narrow(const at::Tensor& input, const at::Tensor& weight) {
  const bool is_bf16 = input.scalar_type() == at::kBFloat16 && weight.scalar_type() == at::kBFloat16;
  return input.is_cpu() && input.scalar_type() != at::kDouble && weight.scalar_type() != at::kDouble &&
         onednn().has_value() && (narrows_products(at::kCPU) || (is_bf16 && !has_bf16_products()));
}

}  // namespace

bool has_bf16_products() {
  static const bool has = !onednn() || onednn_has_bf16();
  return has;
}

bool narrows_products(c10::DeviceType device) {
  return at::autocast::is_autocast_enabled(device) &&
         at::autocast::get_autocast_dtype(device) == at::kBFloat16;
}

at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
  if (is_narrow(input, weight)) return NarrowLinear::apply(input, weight, if_defined(bias));
  return pays(input, weight) ? LargeLinear::apply(input, weight, if_defined(bias))
                             : at::linear(input, weight, if_defined(bias));
}

at::Tensor linear(torch::nn::LinearImpl& layer, const at::Tensor& input) {
  return linear(input, layer.weight, layer.bias);
}

}  // namespace cohort::nn
