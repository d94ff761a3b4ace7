#include "plan/operators.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#ifndef NDEBUG
#error "LibTorch is built with NDEBUG, without which at::RecordFunction is another class"
#endif

namespace cohort::perf {
namespace {

/// Arguments and results of an operator that has just run.
struct Run {
  const std::vector<c10::IValue>& inputs;
  const std::vector<c10::IValue>& outputs;

  [[nodiscard]] at::Tensor tensor(std::size_t i) const { return inputs[i].toTensor(); }
  [[nodiscard]] double values(std::size_t i) const { return static_cast<double>(tensor(i).numel()); }
  [[nodiscard]] double size(std::size_t i, std::int64_t dim) const {
    return static_cast<double>(tensor(i).size(dim));
  }
  [[nodiscard]] double wanted(std::size_t mask) const {
    const auto bits = inputs[mask].toBoolList();
    return static_cast<double>(bits[0]) + static_cast<double>(bits[1]);
  }
};

double of_mm(const Run& run) {
  return 2 * run.values(0) * run.size(1, -1);
}
double of_addmm(const Run& run) {
  return 2 * run.values(1) * run.size(2, -1);
}
double values_of_filter(const Run& run, std::size_t weight) {
  return run.values(weight) / run.size(weight, 0);
}
double of_convolution(const Run& run) {
  const bool transposed = run.inputs[6].toBool();
  const double places =
      transposed ? run.values(0) : static_cast<double>(run.outputs.front().toTensor().numel());
  return 2 * places * values_of_filter(run, 1);
}
double of_convolution_backward(const Run& run) {
  const bool transposed = run.inputs[6].toBool();
  return 2 * run.values(transposed ? 1 : 0) * values_of_filter(run, 2) * run.wanted(9);
}
double of_attention_from(const Run& run, std::size_t query) {
  return 2 * run.values(query) / run.size(query, -1) * run.size(query + 1, 2) *
         (run.size(query, -1) + run.size(query + 2, -1));
}
/// Of the tokens before alone half as many.
double if_causal(const Run& run, std::size_t causal) {
  return run.inputs[causal].toBool() ? 0.5 : 1;
}
double of_attention(const Run& run) {
  return if_causal(run, 4) * of_attention_from(run, 0);
}
double of_attention_backward(const Run& run) {
  return if_causal(run, 7) * 2.5 * of_attention_from(run, 1);
}

struct Rule {
  std::string_view name;
  OperatorKind kind;
  double (*flops)(const Run& run);
  double of_model = 1;  ///< part that counts for the model
};

constexpr std::array kRules{
    Rule{"aten::mm", OperatorKind::product, of_mm},
    Rule{"aten::bmm", OperatorKind::product, of_mm},
    Rule{"aten::addmm", OperatorKind::product, of_addmm},
    Rule{"aten::baddbmm", OperatorKind::product, of_addmm},
    Rule{"aten::convolution_overrideable", OperatorKind::product, of_convolution},
    Rule{"aten::convolution_backward_overrideable", OperatorKind::product, of_convolution_backward},
    Rule{"aten::_scaled_dot_product_flash_attention_for_cpu", OperatorKind::attention, of_attention},
    Rule{"aten::_scaled_dot_product_flash_attention_for_cpu_backward", OperatorKind::attention,
         of_attention_backward, 0.8},
};

double bytes_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return 0;
  // Repeated values are read once.
  const auto values = static_cast<double>(tensor.numel()) * static_cast<double>(tensor.element_size());
  return tensor.has_storage() ? std::min(values, static_cast<double>(tensor.storage().nbytes())) : values;
}

double bytes_of(const c10::IValue& value) {
  if (value.isTensor()) return bytes_of(value.toTensor());
  double sum = 0;
  if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) sum += bytes_of(tensor);
  }
  return sum;
}

/// What it reads, and what it writes: results, of which some are arguments, and arguments that it changes.
double bytes_of(const Run& run, const c10::FunctionSchema& schema) {
  double sum = 0;
  for (std::size_t i = 0; i < run.inputs.size(); ++i) {
    const bool changes = schema.arguments()[i].alias_info() != nullptr && schema.is_mutable();
    sum += bytes_of(run.inputs[i]) * (changes && run.outputs.empty() ? 2 : 1);
  }
  for (const c10::IValue& output : run.outputs) sum += bytes_of(output);
  return sum;
}

bool makes_view(const c10::FunctionSchema& schema) {
  return std::ranges::any_of(schema.returns(), [](const c10::Argument& result) {
    return result.alias_info() != nullptr && !result.alias_info()->isWrite();
  });
}

/// Takes memory, names the same values otherwise, or brings one to the host.
bool does_nothing(std::string_view name) {
  constexpr std::array<std::string_view, 6> kNames{"aten::set_",         "aten::detach_",
                                                   "aten::_unsafe_view", "aten::item",
                                                   "aten::is_nonzero",   "aten::_local_scalar_dense"};
  return name.starts_with("aten::empty") || name.starts_with("aten::new_empty") ||
         name.starts_with("aten::resize_") || std::ranges::find(kNames, name) != kNames.end();
}

/// Of one thread: the calls that have begun and not ended.
struct Calls {
  struct Call {
    bool works = false;                    ///< neither a view nor memory
    bool calls_others = false;             ///< that work
    std::vector<c10::IValue> inputs = {};  ///< of one that works: they are gone when it ends
  };
  std::function<void(const Operator&)> tell;
  std::vector<Call> open;
};

Calls*& calls() {
  static thread_local Calls* of_thread = nullptr;
  return of_thread;
}

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& function) {
  const auto schema = function.operator_schema();
  const bool works = schema && !makes_view(*schema) && !does_nothing(function.name());
  calls()->open.push_back({works});
  if (works) calls()->open.back().inputs.assign(function.inputs().begin(), function.inputs().end());
  return nullptr;
}

void end(const at::RecordFunction& function, at::ObserverContext* /*context*/) {
  std::vector<Calls::Call>& open = calls()->open;
  const Calls::Call call = std::move(open.back());
  open.pop_back();
  if (!call.works && !call.calls_others) return;
  if (!open.empty()) open.back().calls_others = true;
  if (!call.works || call.calls_others) return;
  const std::string_view name = function.name();
  const auto schema = function.operator_schema();
  const Run run{call.inputs, function.outputs()};
  Operator op{.name = std::string(name.substr(name.find("::") + 2))};
  op.bytes = bytes_of(run, *schema);
  const auto* const rule = std::ranges::find(kRules, name, &Rule::name);
  if (rule != kRules.end()) {
    op.kind = rule->kind;
    op.flops = rule->flops(run);
    op.model_flops = op.flops * rule->of_model;
  }
  calls()->tell(op);
}

}  // namespace

OperatorRecording::OperatorRecording(std::function<void(const Operator&)> tell) {
  calls() = std::make_unique<Calls>(Calls{std::move(tell), {}}).release();
  handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(begin, end)
                                           .needsInputs(true)
                                           .needsOutputs(true)
                                           .scopes({at::RecordScope::FUNCTION}));
}

OperatorRecording::~OperatorRecording() {
  at::removeCallback(handle_);
  const std::unique_ptr<Calls> done(std::exchange(calls(), nullptr));
}

}  // namespace cohort::perf
