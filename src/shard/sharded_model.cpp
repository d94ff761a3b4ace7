#include "cohort/shard/sharded_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <unordered_map>
#include <utility>

#include <ATen/ATen.h>
#include <c10/util/StringUtil.h>

#include "cohort/core/error.h"
#include "cohort/core/memory.h"
#include "cohort/core/trace.h"
#include "cohort/nn/unit_model.h"

#include "call_order.h"
#include "gradient_reducer.h"
#include "norms.h"
#include "recompute.h"
#include "unit.h"

namespace cohort::shard {
namespace {

std::string description_of(const nn::UnitModel& model) {
  std::string text;
  for (const auto& item : model.named_parameters()) {
    text += fmt::format("{} {} {}\n", item.key(), item.value().requires_grad() ? "trained" : "frozen",
                        c10::str(item.value().sizes()));
  }
  return text;
}

void check_alike(const nn::UnitModel& model, comm::Communicator& ranks) {
  const std::string mine = description_of(model), theirs = ranks.broadcast_text(mine);
  comm::together(ranks, [&] {
    COHORT_CHECK(mine == theirs, "the models of the ranks differ:\n{}of rank 0:\n{}", mine, theirs);
  });
}

// Those of rank 0, on `device`.
void share_buffers(nn::UnitModel& model, c10::Device device, comm::Communicator& ranks) {
  const at::NoGradGuard no_grad;
  for (at::Tensor& buffer : model.buffers()) {
    const at::Tensor values = buffer.detach().contiguous().flatten().view(at::kByte);
    if (values.numel() > 0) ranks.broadcast(values).wait();
    buffer.set_data(values.view(buffer.scalar_type()).view(buffer.sizes()).to(device));
  }
}

// Copies of the values that the parameters have now.
ShardedModel::Fill current_values(const std::vector<NamedParameter>& parameters) {
  std::unordered_map<std::string, at::Tensor> values;
  for (const NamedParameter& parameter : parameters)
    values[parameter.name] = parameter.tensor.detach().cpu().clone();
  return
      [values = std::move(values)](const std::string& name, at::Tensor& out) { out.copy_(values.at(name)); };
}

bool keeps_whole(const ShardingConfig& config, const comm::DeviceMesh& mesh) {
  return mesh.shards() == 1 || config.strategy == Strategy::optimizer;
}

}  // namespace

std::span<const config::EnumName<Strategy>> enum_names(Strategy) {
  using enum Strategy;
  static constexpr std::array names{
      config::EnumName<Strategy>{replicate, "replicate"}, config::EnumName<Strategy>{optimizer, "optimizer"},
      config::EnumName<Strategy>{full, "full"}, config::EnumName<Strategy>{hybrid, "hybrid"}};
  return names;
}

std::span<const config::EnumName<WireType>> enum_names(WireType) {
  static constexpr std::array names{config::EnumName<WireType>{WireType::fp32, "fp32"},
                                    config::EnumName<WireType>{WireType::bf16, "bf16"}};
  return names;
}

int shards_of(const ShardingConfig& config, const comm::Communicator& ranks) {
  switch (config.strategy) {
    case Strategy::replicate:
      return 1;
    case Strategy::optimizer:
    case Strategy::full:
      return ranks.size();
    case Strategy::hybrid:
      break;
  }
  return config.shard_size > 0 ? static_cast<int>(config.shard_size) : comm::ranks_per_node(ranks);
}

struct ShardedModel::Impl {
  std::shared_ptr<nn::UnitModel> model;
  Options options;
  comm::DeviceMesh& mesh;
  std::shared_ptr<BufferPool> pool;
  std::vector<Unit> units;  // the root unit last
  std::vector<FlatShard> shards;
  std::unique_ptr<GradientReducer> reducer;
  std::optional<CallOrder> order;     // of the calls in a forward pass
  std::optional<OpenCalls> calls;     // that the backward pass has not left
  bool begun = false;                 // the root unit is whole
  std::optional<TraceSpan> backward;  // of the unit that the backward pass is in
  std::chrono::duration<double> wait{};

  Impl(std::shared_ptr<nn::UnitModel> whole, Options how, comm::DeviceMesh& where)
      : model(std::move(whole)),
        options(std::move(how)),
        mesh(where),
        pool(std::make_shared<BufferPool>(options.device)) {
    check_alike(*model, mesh.world());
    for (auto& parameters : parameters_by_unit(*model)) add_unit(std::move(parameters));
    share_buffers(*model, options.device, mesh.world());
    for (const Unit& unit : units) {
      for (const auto& flat : unit.flats()) shards.push_back(flat->shard(mesh));
    }
    const bool recomputes = options.config.activation_checkpointing;
    reducer = std::make_unique<GradientReducer>(
        units, GradientReducer::Options{options.reproducible, options.reduce_every_pass, !recomputes}, mesh);
    order.emplace(root());
    calls.emplace(root());
  }

  [[nodiscard]] std::size_t root() const { return units.size() - 1; }

  // Matrices of blocks may be computed with in bf16; the root unit, norms and biases stay in fp32.
  [[nodiscard]] FlatParameter::Traits traits_of(const NamedParameter& parameter, bool is_root) const {
    FlatParameter::Traits traits;
    traits.trained = parameter.tensor.requires_grad();
    traits.keeps_whole = keeps_whole(options.config, mesh);
    const bool narrow = options.config.gather == WireType::bf16 && !is_root && parameter.tensor.dim() >= 2;
    traits.whole_type = narrow ? at::kBFloat16 : at::kFloat;
    const bool narrow_gradient = options.config.reduce == WireType::bf16 && !options.reproducible;
    traits.reduce_type = narrow_gradient ? at::kBFloat16 : at::kFloat;
    traits.whole_gradient_is_shard =
        mesh.shards() == 1 && !narrow_gradient && !options.reproducible && !options.reduce_every_pass;
    traits.device = options.device;
    return traits;
  }

  void add_unit(std::vector<NamedParameter> parameters) {
    const bool is_root = units.size() == model->unit_count();
    const Fill fill = options.fill ? options.fill : current_values(parameters);
    std::stable_partition(parameters.begin(), parameters.end(),
                          [](const NamedParameter& parameter) { return parameter.tensor.requires_grad(); });
    std::vector<std::unique_ptr<FlatParameter>> flats;
    while (!parameters.empty()) {
      const FlatParameter::Traits traits = traits_of(parameters.front(), is_root);
      const auto differs = [&](const NamedParameter& other) {
        const FlatParameter::Traits its = traits_of(other, is_root);
        return its.trained != traits.trained || its.whole_type != traits.whole_type;
      };
      const auto rest = std::stable_partition(parameters.begin(), parameters.end(), std::not_fn(differs));
      flats.push_back(std::make_unique<FlatParameter>(std::vector<NamedParameter>(parameters.begin(), rest),
                                                      traits, mesh, pool));
      parameters.erase(parameters.begin(), rest);
      flats.back()->initialise(fill, mesh);
      flats.back()->release();
      return_freed_memory();
    }
    units.emplace_back(std::move(flats));
  }

  void make_whole(std::size_t unit) {
    const auto begin = std::chrono::steady_clock::now();
    units[unit].make_whole(mesh);
    wait += std::chrono::steady_clock::now() - begin;
  }

  // When the first gradient of an output is there, the backward pass is about to enter the call. An input
  // that was passed through belongs to an earlier one.
  void watch(std::size_t unit, const nn::Tensors& inputs, const nn::Tensors& outputs) {
    const std::size_t call = calls->add(unit);
    for (const at::Tensor& output : outputs) {
      const auto is_output = [&](const at::Tensor& input) { return input.is_same(output); };
      if (!output.defined() || !output.requires_grad() ||
          std::any_of(inputs.begin(), inputs.end(), is_output))
        continue;
      output.register_hook([this, call](const at::Tensor&) { enter_backward(call); });
    }
  }

  // Otherwise the span of the first call would include the embedding's backward pass.
  void watch_end(const nn::Tensors& inputs) {
    if (!is_tracing()) return;
    for (const at::Tensor& input : inputs) {
      if (input.defined() && input.requires_grad())
        input.register_hook([this](const at::Tensor&) { backward.reset(); });
    }
  }

  void enter_backward(std::size_t call) {
    COHORT_CHECK(call < calls->size(), "the backward pass enters call {} of a unit, which it has left", call);
    if (calls->is_entered(call)) return;
    backward.reset();
    while (calls->size() > call + 1) leave_backward();
    calls->enter(call);
    const std::size_t unit = calls->unit_of(call);
    make_whole(unit);
    if (call > 0) units[calls->unit_of(call - 1)].start_gather(mesh);
    backward.emplace(TraceKind::backward, "backward ", static_cast<std::int64_t>(unit));
  }

  // The gradients of the last call's inputs are complete, so that none of its parameters' is missing.
  void leave_backward() {
    const std::size_t call = calls->size() - 1, unit = calls->unit_of(call);
    const bool entered = calls->is_entered(call), again = call > 0 && calls->unit_of(call - 1) == unit;
    calls->pop();
    if (entered && !again) units[unit].release();
    if (entered && calls->is_done(unit) && reducer->is_open()) reducer->complete(unit);
  }

  void end_backward() {
    backward.reset();
    calls->clear();
    order->end();
    begun = false;
    for (Unit& unit : units) unit.release();
  }
};

ShardedModel::ShardedModel(std::shared_ptr<nn::UnitModel> model, Options options, comm::DeviceMesh& mesh)
    : impl_(std::make_unique<Impl>(std::move(model), std::move(options), mesh)) {
  impl_->model->use(*this);
}

ShardedModel::~ShardedModel() = default;

void ShardedModel::begin(std::size_t first_unit) {
  Impl& engine = *impl_;
  engine.make_whole(engine.root());
  engine.begun = true;
  engine.order->end();
  if (first_unit < engine.root()) engine.units[first_unit].start_gather(engine.mesh);
}

nn::Tensors ShardedModel::run(std::size_t unit, const nn::Tensors& inputs, const Body& body) {
  Impl& engine = *impl_;
  COHORT_CHECK(engine.begun, "unit {} runs outside a forward pass: the model has not called begin()", unit);
  engine.make_whole(unit);
  const std::optional<std::size_t> next = engine.order->call(unit);
  if (next) engine.units[*next].start_gather(engine.mesh);
  const bool records = at::GradMode::is_enabled();
  if (records && engine.calls->size() == 0) engine.watch_end(inputs);
  const ShardingConfig& config = engine.options.config;
  std::optional<TraceSpan> span(std::in_place, TraceKind::forward, "forward ",
                                static_cast<std::int64_t>(unit));
  nn::Tensors outputs = config.activation_checkpointing && records ? recomputed(body, inputs) : body(inputs);
  span.reset();
  if (records) engine.watch(unit, inputs, outputs);
  // The backward pass begins with the last call.
  if (next != unit && (!records || (config.reshard_after_forward && next))) engine.units[unit].release();
  return outputs;
}

bool ShardedModel::is_collective() const noexcept {
  return impl_->mesh.shards() > 1;
}

void ShardedModel::begin_step(int backward_passes) {
  for (const Unit& unit : impl_->units) {
    for (const auto& flat : unit.flats()) flat->check_views();
  }
  impl_->reducer->begin_step(backward_passes);
  impl_->end_backward();
}

void ShardedModel::finish_backward() {
  impl_->reducer->finish_pass();
  impl_->reducer->expect(impl_->calls->order_of_completion());
  impl_->end_backward();
}

std::uint64_t ShardedModel::take_calls() noexcept {
  return impl_->calls->take_digest();
}

void ShardedModel::parameters_changed() noexcept {
  impl_->begun = false;
  for (Unit& unit : impl_->units) unit.make_stale();
}

void ShardedModel::watch_gradients(bool on) {
  impl_->reducer->watch_gradients(on);
}

std::string ShardedModel::first_bad_gradient() const {
  return impl_->reducer->first_bad_gradient();
}

std::chrono::duration<double> ShardedModel::take_wait() noexcept {
  return std::exchange(impl_->wait, {}) + impl_->reducer->take_wait();
}

std::span<FlatShard> ShardedModel::shards() noexcept {
  return impl_->shards;
}

std::vector<std::vector<double>> ShardedModel::squared_norms(std::span<const at::Tensor> values) {
  return shard::squared_norms(impl_->shards, values, impl_->mesh.gradients());
}

double ShardedModel::gradient_norm() {
  std::vector<at::Tensor> gradients;
  for (const FlatShard& shard : impl_->shards) gradients.push_back(shard.gradient);
  double sum = 0.0;
  for (const auto& of_shard : squared_norms(gradients)) {
    for (const double squared : of_shard) sum += squared;
  }
  return std::sqrt(sum);
}

at::Tensor ShardedModel::gathered(std::size_t index) {
  COHORT_CHECK(index < impl_->shards.size(), "shard {} of {}", index, impl_->shards.size());
  auto unit = impl_->units.begin();
  for (; index >= unit->flats().size(); ++unit) index -= unit->flats().size();
  return unit->flats()[index]->gathered(impl_->mesh);
}

void ShardedModel::for_each_parameter(
    const std::function<void(const std::string& name, const at::Tensor& values)>& visit) {
  for (const Unit& unit : impl_->units) {
    for (const auto& flat : unit.flats()) {
      const at::Tensor values = flat->gathered(impl_->mesh).to(at::kCPU);
      comm::together(impl_->mesh.world(), [&] {
        if (impl_->mesh.world().rank() != 0) return;
        for (const ParameterSlot& slot : flat->slots()) {
          const std::int64_t count = c10::multiply_integers(slot.shape);
          visit(slot.name, values.narrow(0, slot.offset, count).view(slot.shape));
        }
      });
    }
  }
}

}  // namespace cohort::shard
