#include "cohort/nn/unit.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/core/memory.h"
#include "cohort/nn/unit_model.h"

namespace cohort::nn {

void UnitRunner::begin(std::size_t /*first_unit*/) {}

Tensors UnitRunner::run(std::size_t /*unit*/, const Tensors& inputs, const Body& body) {
  return body(inputs);
}

bool UnitRunner::is_collective() const noexcept {
  return false;
}

UnitModel::Units UnitModel::units() const {
  Units all = own_units_;
  for (const Tower& tower : towers_) {
    for (auto& unit : tower.model->units()) all.push_back(std::move(unit));
  }
  return all;
}

std::size_t UnitModel::unit_count() const noexcept {
  std::size_t count = own_units_.size();
  for (const Tower& tower : towers_) count += tower.model->unit_count();
  return count;
}

int UnitModel::layer_of(const std::string& parameter) const {
  for (const auto& [prefix, model] : towers_) {
    if (parameter.starts_with(prefix)) return model->layer_of(parameter.substr(prefix.size()));
  }
  return own_layer_of(parameter);
}

int UnitModel::own_layer_of(const std::string& /*parameter*/) const {
  return last_layer();
}

int UnitModel::last_layer() const {
  int last = static_cast<int>(own_units_.size()) + 1;
  for (const Tower& tower : towers_) last = std::max(last, tower.model->last_layer());
  return last;
}

void UnitModel::use(UnitRunner& runner, std::size_t first_unit) noexcept {
  runner_ = &runner;
  first_unit_ = first_unit;
  std::size_t next = first_unit + own_units_.size();
  for (const Tower& tower : towers_) {
    tower.model->use(runner, next);
    next += tower.model->unit_count();
  }
}

std::size_t UnitModel::add_unit(std::vector<std::shared_ptr<torch::nn::Module>> modules) {
  own_units_.push_back(std::move(modules));
  return own_units_.size() - 1;
}

Tensors UnitModel::run(std::size_t unit, const Tensors& inputs, const UnitRunner::Body& body) const {
  COHORT_CHECK(unit < own_units_.size(), "unit {} of {}", unit, own_units_.size());
  return runner_->run(first_unit_ + unit, inputs, body);
}

at::Tensor UnitModel::run(std::size_t unit, const at::Tensor& input,
                          const std::function<at::Tensor(const at::Tensor&)>& body) const {
  return run(unit, Tensors{input}, [body](const Tensors& inputs) { return Tensors{body(inputs.front())}; })
      .front();
}

std::string path_of(const torch::nn::Module& whole, const torch::nn::Module& inner) {
  if (&whole == &inner) return "";
  for (const auto& module : whole.named_modules(/*name_prefix=*/"", /*include_self=*/false)) {
    if (module.value().get() == &inner) return module.key() + ".";
  }
  COHORT_CHECK(false, "a {} is no module of this {}", inner.name(), whole.name());
  return "";
}

void discard_values(torch::nn::Module& module) {
  for (const at::Tensor& parameter : module.parameters()) {
    c10::StorageImpl& storage = *parameter.storage().unsafeGetStorageImpl();
    storage.set_data_ptr_noswap(at::DataPtr(nullptr, parameter.device()));
    storage.set_nbytes(0);
  }
  return_freed_memory();
}

}  // namespace cohort::nn
