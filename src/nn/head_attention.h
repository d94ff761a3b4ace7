#pragma once
#include <cstdint>

#include <c10/util/BFloat16.h>

namespace cohort::nn {

/// One head of one image: token t of query, key and value begins at t * stride, that of output and gradients
/// of it at t * output_stride. Only the first `queries` tokens have an output.
template <class T>
struct Head {
  const T *query, *key, *value;
  std::int64_t queries, tokens, width, stride, output_stride;
  float scale;
};

/// Whether this processor has what the functions below need, AVX-512 and its bf16 products, for heads of such
/// a width.
bool has_head_attention(std::int64_t width);

/// Floats that the scratch memory of one head has to have.
std::int64_t scratch_of_head(std::int64_t tokens, std::int64_t width);

/// softmax(scale q k^T) v. `log_sums` [queries]: logarithms of the softmax's denominators, for the way back.
/// T: float or c10::BFloat16; products of bf16 are summed in fp32, and the softmax is fp32.
template <class T>
void attend(const Head<T>& head, T* output, float* log_sums, float* scratch);

/// Gradients of query, key and value, at the places of these in a tensor of the same layout, from that of the
/// output. Of query only the first `queries` are written.
template <class T>
void attend_back(const Head<T>& head, const T* output_gradient, const float* log_sums, T* query, T* key,
                 T* value, float* scratch);

}  // namespace cohort::nn
