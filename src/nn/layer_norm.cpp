#include "layer_norm.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <type_traits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "vector_math.h"

namespace cohort::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kRowsAtOnce = 32, kValuesAtOnce = 8192;

// T: type of the branch and of the result.
template <class T>
struct Rows {
  const float* tokens;
  const T* branch;  // null: none
  const float *weight, *bias;
  float* sum;  // null without a branch
  T* normalised;
  float *mean, *scale;  // of each row
  std::int64_t width;
  float epsilon;
};

template <class T>
COHORT_INLINE Floats add_row(const float* tokens, const T* branch, float* sum, std::int64_t width) {
  Floats total{};
  for (std::int64_t i = 0; i < width; i += kLanes) {
    Floats values = load(tokens + i);
    if (branch != nullptr) {
      values += load(branch + i);
      store(sum + i, values);
    }
    total += values;
  }
  return total;
}

template <class T>
COHORT_INLINE void normalise_row(const Rows<T>& rows, std::int64_t row) {
  const std::int64_t width = rows.width, first = row * width;
  const bool adds = rows.branch != nullptr;
  const Floats total = add_row(rows.tokens + first, adds ? rows.branch + first : nullptr,
                               adds ? rows.sum + first : nullptr, width);
  const float* const sum = (adds ? rows.sum : rows.tokens) + first;
  const float mean = sum_of_lanes(total) / static_cast<float>(width);
  Floats squares{};
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const Floats centred = load(sum + i) - mean;
    squares += centred * centred;
  }
  const float scale = 1.0f / std::sqrt(sum_of_lanes(squares) / static_cast<float>(width) + rows.epsilon);
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const Floats unit = (load(sum + i) - mean) * scale;
    store(rows.normalised + first + i, unit * load(rows.weight + i) + load(rows.bias + i));
  }
  rows.mean[row] = mean;
  rows.scale[row] = scale;
}

template <class T>
COHORT_INLINE void normalise_rows(const Rows<T>& rows, std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row) normalise_row(rows, row);
}

template <class T>
struct RowsBack {
  const float *sum, *mean, *scale, *weight;
  const T* of_normalised;  // gradients of the two results
  const float* of_sum;
  float* tokens;  // the gradient of the sum
  T* branch;      // the same in the branch's type; null: not wanted
  std::int64_t width;
};

// Adds to the gradients of weight and bias.
template <class T>
COHORT_INLINE void normalise_row_back(const RowsBack<T>& rows, std::int64_t row, float* weight, float* bias) {
  const std::int64_t width = rows.width, first = row * width;
  const float mean = rows.mean[row], scale = rows.scale[row];
  Floats slopes{}, products{};
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const Floats slope = load(rows.of_normalised + first + i),
                 unit = (load(rows.sum + first + i) - mean) * scale;
    store(weight + i, load(weight + i) + slope * unit);
    store(bias + i, load(bias + i) + slope);
    const Floats scaled = slope * load(rows.weight + i);
    slopes += scaled;
    products += scaled * unit;
  }
  const float mean_slope = sum_of_lanes(slopes) / static_cast<float>(width),
              mean_product = sum_of_lanes(products) / static_cast<float>(width);
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const Floats unit = (load(rows.sum + first + i) - mean) * scale;
    const Floats scaled = load(rows.of_normalised + first + i) * load(rows.weight + i);
    const Floats gradient =
        (scaled - mean_slope - unit * mean_product) * scale + load(rows.of_sum + first + i);
    store(rows.tokens + first + i, gradient);
    if (rows.branch != nullptr) store(rows.branch + first + i, gradient);
  }
}

template <class T>
COHORT_INLINE void normalise_rows_back(const RowsBack<T>& rows, std::int64_t begin, std::int64_t end,
                                       float* weight, float* bias) {
  for (std::int64_t row = begin; row < end; ++row) normalise_row_back(rows, row, weight, bias);
}

COHORT_INLINE void add_values(const float* tokens, const c10::BFloat16* branch, float* sum,
                              std::int64_t count) {
  for_each_vector(
      count, [&](std::int64_t i, std::int64_t lanes) __attribute__((always_inline)) {
        store(sum + i, load(tokens + i, lanes) + load(branch + i, lanes), lanes);
      });
}

COHORT_INLINE void narrow_values(const float* values, c10::BFloat16* narrow, std::int64_t count) {
  for_each_vector(
      count, [&](std::int64_t i, std::int64_t lanes)
                 __attribute__((always_inline)) { store(narrow + i, load(values + i, lanes), lanes); });
}

struct Inputs {
  at::Tensor tokens, branch, weight, bias;
  double epsilon;
};

struct Results {
  at::Tensor sum, normalised, mean, scale;
};

template <class T>
Results normalise_all(const Inputs& in) {
  const bool adds = in.branch.defined();
  const std::int64_t width = in.tokens.size(-1), count = in.tokens.numel() / width;
  Results out;
  out.sum = adds ? at::empty_like(in.tokens) : in.tokens;
  out.normalised = at::empty(in.tokens.sizes(), c10::CppTypeToScalarType<T>::value);
  out.mean = at::empty({count}, at::kFloat);
  out.scale = at::empty({count}, at::kFloat);
  const Rows<T> rows{in.tokens.const_data_ptr<float>(),
                     adds ? in.branch.const_data_ptr<T>() : nullptr,
                     in.weight.const_data_ptr<float>(),
                     in.bias.const_data_ptr<float>(),
                     adds ? out.sum.mutable_data_ptr<float>() : nullptr,
                     out.normalised.mutable_data_ptr<T>(),
                     out.mean.mutable_data_ptr<float>(),
                     out.scale.mutable_data_ptr<float>(),
                     width,
                     static_cast<float>(in.epsilon)};
  at::parallel_for(0, count, kRowsAtOnce, [&](std::int64_t begin, std::int64_t end) {
    for_this_processor<normalise_rows<T>>(rows, begin, end);
  });
  return out;
}

struct Gradients {
  at::Tensor tokens, branch, weight, bias;
};

template <class T>
Gradients normalise_all_back(const Results& of, const at::Tensor& weight, const at::Tensor& of_sum,
                             const at::Tensor& of_normalised, bool adds) {
  const std::int64_t width = of.sum.size(-1), count = of.mean.numel(),
                     blocks = (count + kRowsAtOnce - 1) / kRowsAtOnce;
  constexpr bool kNarrow = std::is_same_v<T, c10::BFloat16>;
  Gradients out;
  out.tokens = at::empty_like(of.sum);
  if (adds) out.branch = kNarrow ? at::empty(of.sum.sizes(), at::kBFloat16) : out.tokens;
  const at::Tensor table = at::zeros({blocks, 2, width}, at::kFloat);
  const RowsBack<T> rows{of.sum.const_data_ptr<float>(),
                         of.mean.const_data_ptr<float>(),
                         of.scale.const_data_ptr<float>(),
                         weight.const_data_ptr<float>(),
                         of_normalised.const_data_ptr<T>(),
                         of_sum.const_data_ptr<float>(),
                         out.tokens.mutable_data_ptr<float>(),
                         adds && kNarrow ? out.branch.mutable_data_ptr<T>() : nullptr,
                         width};
  float* const sums = table.mutable_data_ptr<float>();
  at::parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      float* const of_weight = sums + block * 2 * width;
      for_this_processor<normalise_rows_back<T>>(rows, block * kRowsAtOnce,
                                                 std::min(count, (block + 1) * kRowsAtOnce), of_weight,
                                                 of_weight + width);
    }
  });
  const at::Tensor totals = table.sum(0);
  out.weight = totals[0];
  out.bias = totals[1];
  return out;
}

struct FusedNorm : torch::autograd::Function<FusedNorm> {
  static variable_list forward(AutogradContext* context, const at::Tensor& tokens,
                               const std::optional<at::Tensor>& branch, const at::Tensor& weight,
                               const at::Tensor& bias, double epsilon, at::ScalarType type) {
    const Inputs in{tokens.contiguous(), branch ? branch->contiguous() : at::Tensor(), weight, bias, epsilon};
    const Results out = type == at::kFloat ? normalise_all<float>(in) : normalise_all<c10::BFloat16>(in);
    context->save_for_backward({out.sum, weight, out.mean, out.scale});
    context->saved_data["adds"] = branch.has_value();
    return {out.sum, out.normalised};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const Results of{saved[0], {}, saved[2], saved[3]};
    const bool adds = context->saved_data["adds"].toBool();
    const at::Tensor of_sum = gradients[0].contiguous(), of_normalised = gradients[1].contiguous();
    const Gradients in = of_normalised.scalar_type() == at::kFloat
                             ? normalise_all_back<float>(of, saved[1], of_sum, of_normalised, adds)
                             : normalise_all_back<c10::BFloat16>(of, saved[1], of_sum, of_normalised, adds);
    return {in.tokens, in.branch, in.weight, in.bias, {}, {}};
  }
};

struct WideSum : torch::autograd::Function<WideSum> {
  static at::Tensor forward(AutogradContext* /*context*/, const at::Tensor& tokens,
                            const at::Tensor& branch) {
    const at::Tensor left = tokens.contiguous(), right = branch.contiguous(), sum = at::empty_like(left);
    const auto* const a = left.const_data_ptr<float>();
    const auto* const b = right.const_data_ptr<c10::BFloat16>();
    auto* const to = sum.mutable_data_ptr<float>();
    at::parallel_for(0, sum.numel(), kValuesAtOnce, [&](std::int64_t begin, std::int64_t end) {
      for_this_processor<add_values>(a + begin, b + begin, to + begin, end - begin);
    });
    return sum;
  }

  static variable_list backward(AutogradContext* /*context*/, const variable_list& gradients) {
    const at::Tensor wide = gradients[0].contiguous(), narrow = at::empty(wide.sizes(), at::kBFloat16);
    const auto* const from = wide.const_data_ptr<float>();
    auto* const to = narrow.mutable_data_ptr<c10::BFloat16>();
    at::parallel_for(0, wide.numel(), kValuesAtOnce, [&](std::int64_t begin, std::int64_t end) {
      for_this_processor<narrow_values>(from + begin, to + begin, end - begin);
    });
    return {wide, narrow};
  }
};

// The type of a product's input: fp32, or bf16 under autocast; another one is LibTorch's.
at::ScalarType product_type() {
  return at::autocast::is_autocast_enabled(at::kCPU) ? at::autocast::get_autocast_dtype(at::kCPU)
                                                     : at::kFloat;
}

bool can_fuse(const at::Tensor& tokens, const torch::nn::LayerNormImpl& norm) {
  const at::ScalarType type = product_type();
  return tokens.is_cpu() && tokens.scalar_type() == at::kFloat && tokens.size(-1) % kLanes == 0 &&
         norm.weight.scalar_type() == at::kFloat && (type == at::kFloat || type == at::kBFloat16);
}

}  // namespace

NormalisedSum add_and_normalise(const at::Tensor& tokens, const at::Tensor& branch,
                                torch::nn::LayerNormImpl& norm) {
  if (branch.defined() && branch.scalar_type() != product_type())
    return add_and_normalise(tokens + branch, {}, norm);
  if (!can_fuse(tokens, norm)) {
    const at::Tensor sum = branch.defined() ? tokens + branch : tokens;
    return {sum, norm.forward(sum)};
  }
  const std::optional<at::Tensor> added = branch.defined() ? std::optional(branch) : std::nullopt;
  const variable_list both =
      FusedNorm::apply(tokens, added, norm.weight, norm.bias, norm.options.eps(), product_type());
  return {both[0], both[1]};
}

at::Tensor add_branch(const at::Tensor& tokens, const at::Tensor& branch) {
  const bool fused = tokens.is_cpu() && tokens.scalar_type() == at::kFloat &&
                     branch.scalar_type() == at::kBFloat16 && tokens.sizes() == branch.sizes();
  return fused ? WideSum::apply(tokens, branch) : tokens + branch;
}

}  // namespace cohort::nn
