#include "attention.h"

#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#include "head_attention.h"
#include "linear.h"

namespace cohort::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Layout {
  std::int64_t images, queries, tokens, heads, width;  // of a head

  Layout(const at::Tensor& qkv, std::int64_t head_count, std::int64_t query_count)
      : images(qkv.size(0)),
        queries(query_count),
        tokens(qkv.size(1)),
        heads(head_count),
        width(qkv.size(2) / (3 * head_count)) {}
  [[nodiscard]] std::int64_t all() const { return heads * width; }

  // Where head number `number` of all images begins, in the projections and in the output.
  [[nodiscard]] std::int64_t place(std::int64_t number) const {
    return number / heads * tokens * 3 * all() + number % heads * width;
  }
  [[nodiscard]] std::int64_t output_place(std::int64_t number) const {
    return number / heads * queries * all() + number % heads * width;
  }

  template <class T>
  [[nodiscard]] Head<T> head(const T* qkv, std::int64_t number) const {
    const T* const query = qkv + place(number);
    return {query,     query + all(), query + 2 * all(),
            queries,   tokens,        width,
            3 * all(), all(),         1.0f / std::sqrt(static_cast<float>(width))};
  }
};

// Calls `work(number of a head, scratch memory)` on all threads.
template <class Work>
void for_each_head(const Layout& layout, const Work& work) {
  at::parallel_for(0, layout.images * layout.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    const at::Tensor scratch = at::empty({scratch_of_head(layout.tokens, layout.width)}, at::kFloat);
    auto* const memory = scratch.mutable_data_ptr<float>();
    for (std::int64_t number = begin; number < end; ++number) work(number, memory);
  });
}

template <class T>
void attend_all(const at::Tensor& qkv, const Layout& layout, const at::Tensor& output,
                const at::Tensor& log_sums) {
  const T* const from = qkv.const_data_ptr<T>();
  T* const to = output.mutable_data_ptr<T>();
  auto* const logs = log_sums.mutable_data_ptr<float>();
  for_each_head(layout, [&](std::int64_t number, float* scratch) {
    attend(layout.head(from, number), to + layout.output_place(number), logs + number * layout.queries,
           scratch);
  });
}

template <class T>
void attend_all_back(const at::Tensor& qkv, const Layout& layout, const at::Tensor& gradient,
                     const at::Tensor& log_sums, const at::Tensor& output) {
  const T *const from = qkv.const_data_ptr<T>(), *const slopes = gradient.const_data_ptr<T>();
  const auto* const logs = log_sums.const_data_ptr<float>();
  T* const to = output.mutable_data_ptr<T>();
  for_each_head(layout, [&](std::int64_t number, float* scratch) {
    T* const query = to + layout.place(number);
    attend_back(layout.head(from, number), slopes + layout.output_place(number),
                logs + number * layout.queries, query, query + layout.all(), query + 2 * layout.all(),
                scratch);
  });
}

struct FusedAttention : torch::autograd::Function<FusedAttention> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& any, std::int64_t heads,
                            std::int64_t queries) {
    const at::Tensor qkv = any.contiguous();
    const Layout layout(qkv, heads, queries);
    const at::Tensor output = at::empty({layout.images, queries, layout.all()}, qkv.options()),
                     log_sums = at::empty({layout.images, heads, queries}, at::kFloat);
    context->save_for_backward({qkv, log_sums});
    context->saved_data["heads"] = heads;
    qkv.scalar_type() == at::kFloat ? attend_all<float>(qkv, layout, output, log_sums)
                                    : attend_all<c10::BFloat16>(qkv, layout, output, log_sums);
    return output;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const Layout layout(saved[0], context->saved_data["heads"].toInt(), gradients[0].size(1));
    const at::Tensor gradient = gradients[0].contiguous(), output = at::empty_like(saved[0]);
    output.narrow(1, layout.queries, layout.tokens - layout.queries).narrow(2, 0, layout.all()).zero_();
    output.scalar_type() == at::kFloat
        ? attend_all_back<float>(saved[0], layout, gradient, saved[1], output)
        : attend_all_back<c10::BFloat16>(saved[0], layout, gradient, saved[1], output);
    return {output, {}, {}};
  }
};

bool can_fuse_attention(const at::Tensor& qkv, std::int64_t heads) {
  return qkv.is_cpu() && (qkv.scalar_type() == at::kFloat || qkv.scalar_type() == at::kBFloat16) &&
         has_head_attention(qkv.size(2) / (3 * heads));
}

// LibTorch 2.11's kernel for CPUs takes a query that is not a number for one without keys where these are
// fewer than a vector has lanes, and gives zeros.
at::Tensor fused(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const at::Tensor output = at::scaled_dot_product_attention(query, key, value);
  return query.is_cpu() ? output + query.detach().amax(-1, /*keepdim=*/true) * 0 : output;
}

at::Tensor mixed_in_fp32(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return fused(query.to(at::kFloat), key.to(at::kFloat), value.to(at::kFloat)).to(at::kBFloat16);
}

// LibTorch 2.11's fused kernel is the faster one in fp32 (forward and backward of [32, 3, 65, 64] on one
// core: 10.1 ms against 12.4), but its bf16 backward on the CPU is not (27 ms against 5.8), at any T tried.
at::Tensor mixed(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  if (query.is_cpu() && query.scalar_type() == at::kBFloat16) {
    if (!has_bf16_products()) return mixed_in_fp32(query, key, value);
    const double scale = 1.0 / std::sqrt(static_cast<double>(query.size(3)));
    return at::matmul(at::softmax(at::matmul(query * scale, key.transpose(2, 3)), -1), value);
  }
  return fused(query, key, value);
}

}  // namespace

at::Tensor attention(const at::Tensor& qkv, std::int64_t heads, std::int64_t queries) {
  if (can_fuse_attention(qkv, heads)) return FusedAttention::apply(qkv, heads, queries);
  const std::int64_t images = qkv.size(0), count = qkv.size(1), width = qkv.size(2) / 3;
  // Taken apart at once, so that their gradients come together in one stack.
  const std::vector<at::Tensor> parts =
      qkv.view({images, count, 3, heads, width / heads}).unbind(2);  // [B, T, heads, d]
  const at::Tensor asking = queries == count ? parts[0] : parts[0].narrow(1, 0, queries);
  return mixed(asking.transpose(1, 2), parts[1].transpose(1, 2), parts[2].transpose(1, 2))
      .transpose(1, 2)
      .reshape({images, queries, width});
}

}  // namespace cohort::nn
