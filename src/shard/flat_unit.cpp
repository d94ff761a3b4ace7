#include "flat_unit.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "cohort/core/error.h"

namespace cohort::shard {
namespace {

// Parameters start at multiples of 64 bytes: whole cache lines and vector registers.
constexpr std::int64_t kAlignment = 16;

std::int64_t aligned(std::int64_t count) {
  return (count + kAlignment - 1) / kAlignment * kAlignment;
}

at::Tensor view_of(const at::Tensor& buffer, const ParameterSlot& slot, std::int64_t count) {
  return buffer.narrow(0, slot.offset, count).view(slot.shape);
}

}  // namespace

FlatUnit::FlatUnit(std::vector<NamedParameter> parameters) : parameters_(std::move(parameters)) {
  COHORT_CHECK(!parameters_.empty(), "a unit without trained parameters");
  const at::Device device = parameters_.front().tensor.device();
  for (const auto& [name, tensor] : parameters_) {
    COHORT_CHECK(tensor.scalar_type() == at::kFloat, "parameter '{}' is not f32", name);
    COHORT_CHECK(tensor.device() == device, "parameter '{}' lies on {}, its unit on {}", name,
                 tensor.device().str(), device.str());
  }
  lay_out();
  take_over();
}

void FlatUnit::lay_out() {
  std::stable_partition(parameters_.begin(), parameters_.end(),
                        [](const NamedParameter& parameter) { return parameter.tensor.dim() >= 2; });
  for (const auto& [name, tensor] : parameters_) {
    slots_.push_back({name, tensor.sizes().vec(), size_});
    size_ += aligned(tensor.numel());
    if (tensor.dim() >= 2) decayed_ = size_;
  }
}

void FlatUnit::take_over() {
  const at::NoGradGuard no_grad;
  const auto options = parameters_.front().tensor.options().requires_grad(false);
  value_ = at::zeros({size_}, options);
  gradient_ = at::zeros({size_}, options);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    at::Tensor& parameter = parameters_[i].tensor;
    const at::Tensor value = view_of(value_, slots_[i], parameter.numel());
    value.copy_(parameter);
    parameter.set_data(value);
    parameter.mutable_grad() = view_of(gradient_, slots_[i], parameter.numel());
  }
}

FlatShard FlatUnit::shard() const {
  FlatShard shard;
  shard.slots = slots_;
  shard.decayed = decayed_;
  shard.value = value_;
  shard.gradient = gradient_;
  return shard;
}

void FlatUnit::check_views() const {
  const auto at_slot = [](const at::Tensor& view, const at::Tensor& buffer, std::int64_t offset) {
    return view.defined() && view.const_data_ptr() == buffer.const_data_ptr<float>() + offset;
  };
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const auto& [name, tensor] = parameters_[i];
    if (tensor.numel() == 0) continue;
    COHORT_CHECK(at_slot(tensor, value_, slots_[i].offset), "parameter '{}' got another storage", name);
    COHORT_CHECK(at_slot(tensor.grad(), gradient_, slots_[i].offset),
                 "the gradient of '{}' was replaced; clear gradients with ShardedModel::zero_gradients()",
                 name);
  }
}

}  // namespace cohort::shard
