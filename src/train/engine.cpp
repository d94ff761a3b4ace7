#include "train/engine.h"

#include <algorithm>
#include <utility>

#include "cohort/core/error.h"
#include "cohort/core/schedule.h"
#include "cohort/core/trace.h"
#include "cohort/shard/ema.h"
#include "cohort/train/model.h"

#include "train/learning_rate.h"
#include "train/parameter_rules.h"

namespace cohort::train {
namespace {

shard::ShardedModel::Options engine_options(const RunConfig& config, const method::Part& part,
                                            std::span<const method::NamedEncoder> encoders,
                                            const data::Signature& signature, at::Device device) {
  // The device "meta" keeps no values.
  const auto no_values = [](const std::string& /*name*/, const at::Tensor& /*values*/) {};
  return {config.sharding, device, config.reproducible, config.train.reduce_every_micro_batch,
          device.is_meta() ? no_values : first_values(config, part, encoders, signature)};
}

double weight_decay(const RunConfig& config, const method::Step& step) {
  if (config.schedule.weight_decay_end < 0.0) return config.optimizer.weight_decay;
  return warmup_cosine(config.optimizer.weight_decay, config.schedule.weight_decay_end, step.step,
                       step.total_steps, 0);
}

}  // namespace

Engine::ShardedPart::ShardedPart(method::Part which, shard::ShardedModel::Options options,
                                 comm::DeviceMesh& mesh)
    : part(std::move(which)), model(part.model, std::move(options), mesh), step_states(*part.model) {}

Engine::Engine(const RunConfig& config, method::Method& method, const data::Signature& signature,
               at::Device device, std::int64_t steps_per_epoch, comm::Communicator& ranks)
    : config_(config),
      method_(method),
      mesh_(ranks, shard::shards_of(config.sharding, ranks)),
      steps_per_epoch_(steps_per_epoch) {
  const std::vector<method::Part> parts = method_.parts();
  const std::vector<method::NamedEncoder> encoders = method_.encoders();
  for (const method::Part& part : parts)
    parts_.emplace_back(part, engine_options(config_, part, encoders, signature, device), mesh_);
  trained_ = &named(method::trained_part(parts).name);
  for (ShardedPart& each : parts_) {
    if (each.part.role == method::Part::Role::follows) each.followed = &named(each.part.follows);
  }
  optimizer_ = shard::make_optimizer(trained_->model.shards(), config_.optimizer,
                                     [this](auto values) { return trained_->model.squared_norms(values); },
                                     {parameter_rules(method_, config_.optimizer), steps_per_epoch});
}

Engine::ShardedPart& Engine::named(const std::string& name) {
  const auto found =
      std::find_if(parts_.begin(), parts_.end(), [&](const auto& each) { return each.part.name == name; });
  COHORT_CHECK(found != parts_.end(), "no part '{}'", name);
  return *found;
}

void Engine::begin_step(std::int64_t backward_passes) {
  for (ShardedPart& each : parts_) {
    each.model.begin_step(static_cast<int>(backward_passes));
    each.step_states.begin_step();
  }
}

void Engine::finish_backward() {
  for (ShardedPart& each : parts_) each.model.finish_backward();
}

double Engine::clip_gradients() {
  return optimizer_->clip_gradients();
}

double Engine::update(const method::Step& step, double gradient_norm, std::int64_t reductions) {
  const TraceSpan span(TraceKind::optimizer, "update");
  const double lr = learning_rate(config_, step.step, step.total_steps, steps_per_epoch_, reductions);
  optimizer_->step(lr, weight_decay(config_, step), gradient_norm);
  trained_->model.parameters_changed();
  return lr;
}

void Engine::after_step(const method::Step& step) {
  const TraceSpan span(TraceKind::optimizer, "after step");
  for (ShardedPart& each : parts_) each.step_states.finish_step(mesh_.world());
  for (ShardedPart& each : parts_) {
    if (each.followed != nullptr) shard::update_ema(each.model, each.followed->model, method_.decay(step));
  }
  method_.after_step(step);
}

std::chrono::duration<double> Engine::take_wait() noexcept {
  std::chrono::duration<double> wait{};
  for (ShardedPart& each : parts_) wait += each.model.take_wait();
  return wait;
}

TrainingState Engine::state() {
  TrainingState state{{}, optimizer_.get(), method_.buffers()};
  for (ShardedPart& each : parts_) {
    state.parts.push_back({each.part.name, &each.model});
    for (const auto& buffer : each.part.model->named_buffers())
      state.optional.push_back({"/" + each.part.name + "/" + buffer.key(), buffer.value()});
  }
  return state;
}

}  // namespace cohort::train
