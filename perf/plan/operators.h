#pragma once
#include <functional>
#include <string>

#include <ATen/record_function.h>

namespace cohort::perf {

/// What an operator's time is bound by: `product`: a matrix product; `attention`: both products and the
/// softmax of attention; `memory`: all that touches each value a few times.
enum class OperatorKind { product, attention, memory };

/// An operator of LibTorch that ran.
struct Operator {
  std::string name;  ///< "addmm"
  OperatorKind kind = OperatorKind::memory;
  double flops = 0;        ///< a multiplication and an addition count 2; of products and attention alone
  double model_flops = 0;  ///< the same without what attention forms again on its way back
  double bytes = 0;        ///< of tensors read and written, each once
};

/// While it lives, tells of every operator that this thread runs, in order: of those that do the work, not of
/// those that call others, make views or take memory. FLOPs: of a product of [m, k] and [k, n] 2 m k n; of a
/// convolution 2 for each value of the output and each value of a filter, on the way back as many for each of
/// the gradients of input and filters; of attention 2 T S (d + d') a head, on the way back 5/2 of it
/// (FlashAttention-2, arXiv 2307.08691, section 3.2), of which 2 count for the model. Not movable, not
/// nested.
class OperatorRecording {
 public:
  explicit OperatorRecording(std::function<void(const Operator&)> tell);
  OperatorRecording(const OperatorRecording&) = delete;
  OperatorRecording& operator=(const OperatorRecording&) = delete;
  ~OperatorRecording();

 private:
  at::CallbackHandle handle_;
};

}  // namespace cohort::perf
