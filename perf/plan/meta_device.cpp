#include "plan/meta_device.h"

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/ConvUtils.h>
#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include "cohort/nn/unit_model.h"

namespace cohort::perf {
namespace {

using Stack = torch::jit::Stack;

// Of devices that nobody here has: while a thread includes them, their kernels come first.
constexpr c10::DispatchKey kNarrowing = c10::DispatchKey::AutocastIPU,
                           kNoValues = c10::DispatchKey::AutocastHPU;

void include(c10::DispatchKey key, bool included) {
  c10::impl::tls_set_dispatch_key_excluded(key, !included);
  c10::impl::tls_set_dispatch_key_included(key, included);
}

std::int64_t live_bytes = 0, peak_bytes = 0;

/// Counts. Addresses mean nothing, and are not null, so that tensors count as allocated.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    const auto count = static_cast<std::int64_t>(bytes);
    live_bytes += count;
    peak_bytes = std::max(peak_bytes, live_bytes);
    static std::byte nowhere;
    return {&nowhere, std::make_unique<std::int64_t>(count).release(), &end, c10::Device(c10::kMeta)};
  }
  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* /*to*/, const void* /*from*/, std::size_t /*bytes*/) const override {}

 private:
  static void end(void* count) {
    const std::unique_ptr<std::int64_t> bytes(static_cast<std::int64_t*>(count));
    live_bytes -= *bytes;
  }
};

at::TensorOptions meta(at::ScalarType type) {
  return at::TensorOptions(type).device(at::kMeta);
}

// ---- of every operator without a shape of its own

at::Tensor zeros_like_on_host(const at::Tensor& tensor) {
  return at::zeros(tensor.sizes(), at::TensorOptions(tensor.scalar_type()));
}

at::Tensor shape_of(const at::Tensor& tensor) {
  return at::empty(tensor.sizes(), meta(tensor.scalar_type()));
}

/// Each tensor in a value by what `change` makes of it.
template <class Change>
c10::IValue changed(const c10::IValue& value, const Change& change) {
  if (value.isTensor()) return value.toTensor().defined() ? c10::IValue(change(value.toTensor())) : value;
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(change(tensor));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector())
      list.push_back(tensor ? std::optional(change(*tensor)) : std::nullopt);
    return list;
  }
  return value;
}

/// The argument that an operator writes to and returns as its result number `result`.
std::optional<std::size_t> written_argument(const c10::FunctionSchema& schema, std::size_t result) {
  const c10::AliasInfo* const alias = schema.returns()[result].alias_info();
  if (alias == nullptr || !alias->isWrite()) return std::nullopt;
  for (std::size_t i = 0; i < schema.arguments().size(); ++i) {
    const c10::AliasInfo* const other = schema.arguments()[i].alias_info();
    if (other != nullptr && other->beforeSets() == alias->beforeSets()) return i;
  }
  return std::nullopt;
}

/// A result may be larger than what was given for it.
c10::IValue with_size_of(const c10::IValue& written, const c10::IValue& result) {
  if (written.isTensor() && result.isTensor()) written.toTensor().resize_(result.toTensor().sizes());
  return written;
}

void run_on_zeros(const c10::OperatorHandle& op, Stack* stack) {
  const at::DisableRecordFunctionGuard unrecorded;
  const c10::FunctionSchema& schema = op.schema();
  const std::size_t inputs = schema.arguments().size();
  const std::vector<c10::IValue> given(stack->end() - static_cast<std::ptrdiff_t>(inputs), stack->end());
  for (auto value = stack->end() - static_cast<std::ptrdiff_t>(inputs); value != stack->end(); ++value)
    *value = changed(*value, zeros_like_on_host);
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  const std::size_t results = schema.returns().size();
  for (std::size_t r = 0; r < results; ++r) {
    c10::IValue& result = (*stack)[stack->size() - results + r];
    const std::optional<std::size_t> argument = written_argument(schema, r);
    result = argument ? with_size_of(given[*argument], result) : changed(result, shape_of);
  }
}

bool has_shape(const c10::OperatorHandle& op) {
  using enum c10::DispatchKey;
  for (const c10::DispatchKey key :
       {Meta, CompositeImplicitAutograd, CompositeExplicitAutograd, CompositeExplicitAutogradNonFunctional}) {
    if (op.hasKernelForDispatchKey(key)) return true;
  }
  return false;
}

// ---- of those that are frequent or large

at::Tensor like(const at::Tensor& self) {
  return at::empty_like(self);
}

at::Tensor where(const at::Tensor& condition, const at::Tensor& self, const at::Tensor& other) {
  const auto sizes = at::infer_size(condition.sizes(), at::infer_size(self.sizes(), other.sizes()));
  return at::empty(sizes, meta(at::result_type(self, other)));
}

at::Tensor floor_divide(const at::Tensor& self, const at::Tensor& other) {
  return at::empty(at::infer_size(self.sizes(), other.sizes()), meta(at::result_type(self, other)));
}

at::Tensor index_select(const at::Tensor& self, std::int64_t dim, const at::Tensor& index) {
  auto sizes = self.sizes().vec();
  if (!sizes.empty()) sizes[static_cast<std::size_t>(dim < 0 ? dim + self.dim() : dim)] = index.numel();
  return at::empty(sizes, self.options());
}

at::Scalar local_scalar(const at::Tensor& self) {
  if (self.scalar_type() == at::kBool) return false;
  return 1;
}

at::Tensor to_copy(const at::Tensor& self, std::optional<at::ScalarType> type,
                   std::optional<at::Layout> /*layout*/, std::optional<at::Device> device,
                   std::optional<bool> /*pinned*/, bool /*non_blocking*/,
                   std::optional<at::MemoryFormat> /*format*/) {
  const auto options = at::TensorOptions(type.value_or(self.scalar_type()));
  if (device && !device->is_meta()) return at::zeros(self.sizes(), options.device(*device));
  return at::empty_like(self, options.device(at::kMeta));
}

at::Tensor& copy(at::Tensor& self, const at::Tensor& /*source*/, bool /*non_blocking*/) {
  return self;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> layer_norm(const at::Tensor& input, at::IntArrayRef shape,
                                                          const std::optional<at::Tensor>& /*weight*/,
                                                          const std::optional<at::Tensor>& /*bias*/,
                                                          double /*epsilon*/) {
  auto sizes = input.sizes().vec();
  for (std::size_t i = sizes.size() - shape.size(); i < sizes.size(); ++i) sizes[i] = 1;
  return {at::empty_like(input), at::empty(sizes, meta(at::kFloat)), at::empty(sizes, meta(at::kFloat))};
}

at::Tensor empty_if(bool wanted, const at::Tensor& like) {
  return wanted ? at::empty_like(like) : at::Tensor();
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> layer_norm_backward(
    const at::Tensor& /*gradient*/, const at::Tensor& input, at::IntArrayRef /*shape*/,
    const at::Tensor& /*mean*/, const at::Tensor& /*scale*/, const std::optional<at::Tensor>& weight,
    const std::optional<at::Tensor>& bias, std::array<bool, 3> wanted) {
  return {empty_if(wanted[0], input), empty_if(wanted[1] && weight, weight.value_or(input)),
          empty_if(wanted[2] && bias, bias.value_or(input))};
}

at::Tensor of_channels(const at::Tensor& input) {
  return at::empty({input.size(1)}, meta(at::kFloat));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> batch_norm(const at::Tensor& input,
                                                          const std::optional<at::Tensor>& /*weight*/,
                                                          const std::optional<at::Tensor>& /*bias*/,
                                                          const std::optional<at::Tensor>& /*mean*/,
                                                          const std::optional<at::Tensor>& /*variance*/,
                                                          bool /*training*/, double /*momentum*/,
                                                          double /*epsilon*/) {
  return {at::empty_like(input), of_channels(input), of_channels(input)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> batch_norm_backward(
    const at::Tensor& /*gradient*/, const at::Tensor& input, const std::optional<at::Tensor>& /*weight*/,
    const std::optional<at::Tensor>& /*mean*/, const std::optional<at::Tensor>& /*variance*/,
    const std::optional<at::Tensor>& /*saved mean*/, const std::optional<at::Tensor>& /*saved scale*/,
    bool /*training*/, double /*epsilon*/, std::array<bool, 3> wanted) {
  return {empty_if(wanted[0], input), wanted[1] ? of_channels(input) : at::Tensor(),
          wanted[2] ? of_channels(input) : at::Tensor()};
}

at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight,
                       const std::optional<at::Tensor>& /*bias*/, at::IntArrayRef stride,
                       at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                       at::IntArrayRef output_padding, std::int64_t groups) {
  const std::vector<std::int64_t> sizes =
      transposed ? at::native::conv_input_size(input.sizes(), weight.sizes(), padding, output_padding, stride,
                                               dilation, groups)
                 : at::native::conv_output_size(input.sizes(), weight.sizes(), padding, stride, dilation);
  return at::empty(sizes, input.options());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight, at::IntArrayRef /*stride*/,
    at::IntArrayRef /*padding*/, at::IntArrayRef /*dilation*/, bool /*transposed*/,
    at::IntArrayRef /*output_padding*/, std::int64_t /*groups*/, std::array<bool, 3> wanted) {
  return {empty_if(wanted[0], input), empty_if(wanted[1], weight),
          wanted[2] ? at::empty({gradient.size(1)}, gradient.options()) : at::Tensor()};
}

// Attention as one kernel, which all real devices have, and with its own gradient.
std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor& query, const at::Tensor& /*key*/,
                                             const at::Tensor& value, double /*dropout*/, bool /*causal*/,
                                             const std::optional<at::Tensor>& /*mask*/,
                                             std::optional<double> /*scale*/) {
  auto sizes = query.sizes().vec();
  const at::Tensor sums = at::empty({sizes[0], sizes[1], sizes[2]}, meta(at::kFloat));
  sizes.back() = value.size(-1);
  return {at::empty(sizes, query.options()), sums};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(
    const at::Tensor& /*gradient*/, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& /*output*/, const at::Tensor& /*sums*/, double /*dropout*/, bool /*causal*/,
    const std::optional<at::Tensor>& /*mask*/, std::optional<double> /*scale*/) {
  return {at::empty_like(query), at::empty_like(key), at::empty_like(value)};
}

at::Tensor fused_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const std::optional<at::Tensor>& mask, double dropout, bool causal,
                           std::optional<double> scale, bool /*grouped*/) {
  return std::get<0>(
      at::_scaled_dot_product_flash_attention_for_cpu(query, key, value, dropout, causal, mask, scale));
}

void adamw(at::TensorList /*values*/, at::TensorList /*gradients*/, at::TensorList /*means*/,
           at::TensorList /*squares*/, at::TensorList /*largest*/, at::TensorList /*steps*/, double /*lr*/,
           double /*beta1*/, double /*beta2*/, double /*decay*/, double /*epsilon*/, bool /*amsgrad*/,
           bool /*maximize*/, const std::optional<at::Tensor>& /*grad_scale*/,
           const std::optional<at::Tensor>& /*found_inf*/) {}

/// Products in bf16, whatever their operands are, but for fp64.
void narrow(const c10::OperatorHandle& op, Stack* stack) {
  const c10::impl::ExcludeDispatchKeyGuard once(kNarrowing);
  const auto narrowed = [](const at::Tensor& tensor) {
    const at::ScalarType type = tensor.scalar_type();
    return type == at::kFloat || type == at::kHalf ? tensor.to(at::kBFloat16) : tensor;
  };
  const std::size_t inputs = op.schema().arguments().size();
  for (auto value = stack->end() - static_cast<std::ptrdiff_t>(inputs); value != stack->end(); ++value)
    *value = changed(*value, narrowed);
  op.callBoxed(stack);
}

void fall_through(c10::DispatchKey key) {
  static std::deque<torch::Library> kept;
  kept.emplace_back(torch::Library::IMPL, "_", key, __FILE__, __LINE__)
      .fallback(torch::CppFunction::makeFallthrough());
}

void add_products_in_bf16() {
  fall_through(kNarrowing);
  static torch::Library products(torch::Library::IMPL, "aten", kNarrowing, __FILE__, __LINE__);
  for (const char* name : {"linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "conv1d", "conv2d", "conv3d",
                           "conv_transpose2d.input", "scaled_dot_product_attention"})
    products.impl(name, torch::CppFunction::makeFromBoxedFunction<&narrow>());
}

at::Tensor& keep_uniform(at::Tensor& self, double /*from*/, double /*to*/,
                         std::optional<at::Generator> /*generator*/) {
  return self;
}
at::Tensor& keep_fill(at::Tensor& self, const at::Scalar& /*value*/) {
  return self;
}
at::Tensor& keep_zero(at::Tensor& self) {
  return self;
}

void leave_first_values_out() {
  fall_through(kNoValues);
  static torch::Library none(torch::Library::IMPL, "aten", kNoValues, __FILE__, __LINE__);
  none.impl("uniform_", TORCH_FN(keep_uniform));
  none.impl("normal_", TORCH_FN(keep_uniform));
  none.impl("fill_.Scalar", TORCH_FN(keep_fill));
  none.impl("zero_", TORCH_FN(keep_zero));
}

void add_shapes(torch::Library& library) {
  library.impl("where.self", TORCH_FN(where));
  library.impl("floor_divide", TORCH_FN(floor_divide));
  library.impl("relu", TORCH_FN(like));
  library.impl("index_select", TORCH_FN(index_select));
  library.impl("_local_scalar_dense", TORCH_FN(local_scalar));
  library.impl("_to_copy", TORCH_FN(to_copy));
  library.impl("copy_", TORCH_FN(copy));
  library.impl("native_layer_norm", TORCH_FN(layer_norm));
  library.impl("native_layer_norm_backward", TORCH_FN(layer_norm_backward));
  library.impl("native_batch_norm", TORCH_FN(batch_norm));
  library.impl("native_batch_norm_backward", TORCH_FN(batch_norm_backward));
  library.impl("convolution_overrideable", TORCH_FN(convolution));
  library.impl("convolution_backward_overrideable", TORCH_FN(convolution_backward));
  library.impl("_scaled_dot_product_flash_attention_for_cpu", TORCH_FN(attention));
  library.impl("_scaled_dot_product_flash_attention_for_cpu_backward", TORCH_FN(attention_backward));
  library.impl("_fused_adamw_", TORCH_FN(adamw));
}

void add_shapes_of_others() {
  static std::vector<c10::RegistrationHandleRAII> kept;
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findOp(name);
    if (!op || !op->hasSchema() || !op->hasKernelForDispatchKey(c10::DispatchKey::CPU) || has_shape(*op))
      continue;
    kept.push_back(dispatcher.registerImpl(name, c10::DispatchKey::Meta,
                                           c10::KernelFunction::makeFromBoxedFunction<&run_on_zeros>(),
                                           std::nullopt, nullptr, "on zeros"));
  }
}

}  // namespace

void prepare_meta_device() {
  static CountingAllocator allocator;
  static const bool once = [] {
    c10::SetAllocator(c10::kMeta, &allocator, /*priority=*/1);
    static torch::Library shapes(torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__, __LINE__);
    add_shapes(shapes);
    static torch::Library gradients(torch::Library::IMPL, "aten", c10::DispatchKey::AutogradMeta, __FILE__,
                                    __LINE__);
    gradients.impl("scaled_dot_product_attention", TORCH_FN(fused_attention));
    add_products_in_bf16();
    leave_first_values_out();
    add_shapes_of_others();
    return true;
  }();
  static_cast<void>(once);
}

void move_to_meta(torch::nn::Module& module) {
  const auto move = [](const at::Tensor& tensor, at::ScalarType type) {
    const at::Tensor moved = at::empty(tensor.sizes(), meta(type));
    tensor.unsafeGetTensorImpl()->shallow_copy_from(moved.getIntrusivePtr());
  };
  // An engine may have left them in bf16.
  for (const at::Tensor& parameter : module.parameters()) move(parameter, at::kFloat);
  for (const at::Tensor& buffer : module.buffers()) move(buffer, buffer.scalar_type());
  nn::discard_values(module);
}

std::int64_t MetaMemory::live() noexcept {
  return live_bytes;
}
std::int64_t MetaMemory::peak() noexcept {
  return peak_bytes;
}
void MetaMemory::reset_peak() noexcept {
  peak_bytes = live_bytes;
}

MetaBf16Scope::MetaBf16Scope(bool enabled) : enabled_(enabled) {
  if (enabled_) include(kNarrowing, true);
}

MetaBf16Scope::~MetaBf16Scope() {
  if (enabled_) include(kNarrowing, false);
}

NoFirstValues::NoFirstValues() {
  prepare_meta_device();
  include(kNoValues, true);
}

NoFirstValues::~NoFirstValues() {
  include(kNoValues, false);
}

}  // namespace cohort::perf
