#include "unit.h"

#include <unordered_map>
#include <unordered_set>

#include "cohort/core/error.h"
#include "cohort/nn/unit_model.h"

namespace cohort::shard {

void Unit::start_gather(comm::DeviceMesh& mesh) {
  if (state_ != State::sharded) return;
  for (const auto& flat : flats_) {
    if (!flat->is_always_whole()) gathers_.push_back(flat->gather(mesh));
  }
  state_ = State::gathering;
}

void Unit::make_whole(comm::DeviceMesh& mesh) {
  start_gather(mesh);
  for (comm::Work& gather : gathers_) gather.wait();
  gathers_.clear();
  state_ = State::whole;
}

void Unit::release() {
  if (state_ == State::sharded) return;
  for (comm::Work& gather : gathers_) gather.wait();
  gathers_.clear();
  bool kept = true;
  for (const auto& flat : flats_) kept = flat->release() && kept;
  state_ = kept ? State::whole : State::sharded;
}

void Unit::make_stale() {
  for (comm::Work& gather : gathers_) gather.wait();
  gathers_.clear();
  state_ = State::sharded;
}

std::vector<std::vector<NamedParameter>> parameters_by_unit(const nn::UnitModel& model) {
  std::unordered_map<const c10::TensorImpl*, std::string> names;
  for (const auto& item : model.named_parameters())
    names.emplace(item.value().unsafeGetTensorImpl(), item.key());
  std::unordered_set<const c10::TensorImpl*> taken;
  const auto take = [&](const std::vector<at::Tensor>& parameters, std::vector<NamedParameter>& unit) {
    for (const at::Tensor& parameter : parameters) {
      const auto* key = parameter.unsafeGetTensorImpl();
      COHORT_CHECK(names.contains(key), "a unit has a parameter that its model does not know");
      if (taken.insert(key).second) unit.push_back({names.at(key), parameter, model.layer_of(names.at(key))});
    }
  };
  std::vector<std::vector<NamedParameter>> result;
  for (const auto& modules : model.units()) {
    auto& unit = result.emplace_back();
    for (const auto& module : modules) take(module->parameters(), unit);
  }
  take(model.parameters(), result.emplace_back());
  return result;
}

}  // namespace cohort::shard
