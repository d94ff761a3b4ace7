#include "plan/rehearsal.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/comm/pretended.h"
#include "cohort/core/error.h"
#include "cohort/method/registry.h"
#include "cohort/train/columns.h"
#include "cohort/train/model.h"

#include "plan/meta_device.h"
#include "train/engine.h"
#include "train/step_totals.h"
#include "train/training_views.h"

namespace cohort::perf {
namespace {

Lane lane_named(const std::string& group) {
  for (int lane = 0; lane < kLanes; ++lane) {
    if (lane_name(static_cast<Lane>(lane)) == group) return static_cast<Lane>(lane);
  }
  return Lane::world;
}

/// Writes down what a step does.
class Writer final : public comm::CollectiveObserver {
 public:
  std::size_t started(const comm::CollectiveCall& call) override {
    collectives_.push_back({lane_named(call.group), call.operation, call.bytes, call.moved});
    note({.kind = Action::Kind::start, .collective = collectives_.size() - 1});
    return collectives_.size() - 1;
  }
  void waited_for(std::size_t number) override { note({.kind = Action::Kind::wait, .collective = number}); }
  void ran(const Operator& op) {
    if (!writes_) return;
    if (actions_.empty() || actions_.back().kind != Action::Kind::compute || actions_.back().pass != pass_)
      actions_.push_back({.pass = pass_});
    actions_.back().operators.push_back(op);
  }

  /// From now on.
  void begin() {
    writes_ = true;
    collectives_.clear();
  }
  void enter(Pass pass) { pass_ = pass; }

  std::vector<Action> take_actions() { return std::move(actions_); }
  std::vector<RehearsedCollective> take_collectives() { return std::move(collectives_); }

 private:
  void note(Action action) {
    if (writes_) actions_.push_back(std::move(action));
  }

  bool writes_ = false;
  Pass pass_ = Pass::forward;
  std::vector<Action> actions_;
  std::vector<RehearsedCollective> collectives_;
};

double bytes_of(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<double>(tensor.nbytes()) : 0.0;
}

/// Of what lies between steps; `all`: bytes of that.
RehearsedMemory memory_between_steps(train::Engine& engine, double all) {
  RehearsedMemory memory;
  const train::TrainingState state = engine.state();
  for (const auto& part : state.parts) {
    const auto shards = part.model->shards();
    const bool is_trained =
        std::ranges::any_of(shards, [](const shard::FlatShard& shard) { return shard.trained; });
    for (const shard::FlatShard& shard : shards) {
      memory.gradients += bytes_of(shard.gradient);
      if (!is_trained) memory.teacher += bytes_of(shard.value);
    }
  }
  for (const auto& moment : state.optimizer->states()) {
    for (const at::Tensor& values : moment.of_shard) memory.state += bytes_of(values);
  }
  memory.parameters = all - memory.teacher - memory.gradients - memory.state;
  return memory;
}

at::Tensor blank(at::IntArrayRef sizes, at::ScalarType type) {
  return at::empty(sizes, at::TensorOptions(type).device(at::kMeta));
}

at::ScalarType type_of(const data::Field& field) {
  switch (field.type) {
    case data::ValueType::u8:
      return at::kByte;
    case data::ValueType::f32:
      return at::kFloat;
    case data::ValueType::i64:
      return at::kLong;
    default:
      return at::kInt;
  }
}

constexpr std::int64_t kSteps = 1000;  // of the run
constexpr std::int64_t kEntries = 8;   // of an image, of boxes and other rows that differ

/// Of a row that differs in length. A text has a sentence of one word for each of its tokens but begin and
/// end.
std::int64_t entries_of(const data::Field& field, const data::Description& description) {
  const auto of = std::ranges::find(description.fields, field.of, &data::Field::name);
  const bool counts_words = field.kind == data::FieldKind::tokens && of != description.fields.end() &&
                            of->kind == data::FieldKind::tokens;
  return counts_words ? kEntries - 2 : kEntries;
}

/// Fields of `images`, as data::Batch has them: masks, boxes and points lie in views.
void add_field(data::Batch& batch, const data::Field& field, const data::Description& description,
               std::int64_t images) {
  using enum data::FieldKind;
  const bool moves = field.of.empty() && (field.kind == mask || field.kind == boxes || field.kind == points);
  for (std::size_t v = 0; v < (moves ? batch.views.size() : 1); ++v) {
    data::Column column;
    std::vector<std::int64_t> sizes = field.shape;
    if (field.kind == mask && moves) sizes = batch.views[v].sizes().slice(2).vec();
    if (field.differs()) {
      const std::int64_t entries = entries_of(field, description);
      sizes.front() = images * entries;
      column.offsets = at::arange(images + 1) * entries;
    } else {
      sizes.insert(sizes.begin(), images);
    }
    column.values = field.differs() ? at::ones(sizes, type_of(field)) : blank(sizes, type_of(field));
    batch.columns[moves ? fmt::format("{}/{}", field.name, v) : field.name] = std::move(column);
  }
}

/// A step, as train::Trainer does it.
class Step {
 public:
  Step(const train::RunConfig& config, method::Method& method, train::Engine& engine, Writer& writer,
       comm::Communicator& ranks)
      : config_(config), method_(method), engine_(engine), writer_(writer), ranks_(ranks) {}

  /// Bytes of tensors behind the last forward pass.
  double run(const RehearsedBatch& batch, std::int64_t number) {
    const method::Step where{.step = number,
                             .total_steps = kSteps,
                             .epoch = 0,
                             .global_images = batch.host.sample.numel() * ranks_.size(),
                             .seed = config_.seed,
                             .ranks = &ranks_};
    train::StepShare share;
    writer_.enter(Pass::forward);
    const std::int64_t groups = batch.groups, passes = batch.passes;
    engine_.begin_step(passes);
    method_.begin_step(batch.host, where);
    std::vector<data::Batch> parts;
    for (std::int64_t pass = 0; pass < passes; ++pass)
      parts.push_back(
          data::groups_of(batch.on_device, groups, groups * pass / passes, groups * (pass + 1) / passes));
    in_bf16([&] { method_.prepare(parts, where); });
    for (const data::Batch& part : parts) backward(part, where, share);
    writer_.enter(Pass::optimizer);
    const double norm = engine_.clip_gradients();
    static_cast<void>(train::sum_over_ranks(share, ranks_));
    static_cast<void>(engine_.update(where, norm));
    writer_.enter(Pass::average);
    engine_.after_step(where);
    return behind_forward_;
  }

 private:
  template <class Body>
  void in_bf16(const Body& body) const {
    const MetaBf16Scope scope(config_.precision == train::Precision::bf16);
    body();
  }

  void backward(const data::Batch& part, const method::Step& where, train::StepShare& share) {
    writer_.enter(Pass::forward);
    at::Tensor loss;
    in_bf16([&] { loss = method_.loss(part, where, share.metrics); });
    behind_forward_ = static_cast<double>(MetaMemory::live());
    writer_.enter(Pass::backward);
    loss.backward();
    engine_.finish_backward();
    share.losses.push_back(0);
  }

  const train::RunConfig& config_;
  method::Method& method_;
  train::Engine& engine_;
  Writer& writer_;
  comm::Communicator& ranks_;
  double behind_forward_ = 0;
};

}  // namespace

std::string_view pass_name(Pass pass) noexcept {
  constexpr std::array<std::string_view, 4> kNames{"forward", "backward", "optimizer", "average"};
  return kNames[static_cast<std::size_t>(pass)];
}

std::string_view lane_name(Lane lane) noexcept {
  constexpr std::array<std::string_view, kLanes> kNames{"parameters", "gradients", "replicate", "mesh",
                                                        "world"};
  return kNames[static_cast<std::size_t>(lane)];
}

double Rehearsal::model_flops() const noexcept {
  double sum = 0;
  for (const Action& action : actions) {
    if (action.pass != Pass::forward && action.pass != Pass::backward) continue;
    for (const Operator& op : action.operators) sum += op.model_flops;
  }
  return sum;
}

RehearsedBatch blank_batch(const train::RunConfig& config, const data::Description& description,
                           std::int64_t images, int passes) {
  const std::int64_t group = config.sampler.images_per_group,
                     groups = images % (group * passes) == 0 ? images / group : passes;
  data::Batch batch;
  for (const data::ViewShape& view : train::training_views(config, description, 0)->shapes()) {
    std::vector<std::int64_t> sizes = view.sizes();
    sizes.insert(sizes.begin(), images);
    batch.views.push_back(blank(sizes, at::kFloat));
  }
  batch.sample = at::arange(images);
  batch.group = at::arange(images).div(images / groups, "floor");
  batch.context = at::zeros({images, std::ssize(config.context.keys)}, at::kLong);
  if (!train::label_column(config, description).empty()) batch.label = at::zeros({images}, at::kLong);
  for (const std::string& name : train::learnt_fields(config, description)) {
    const auto field = std::ranges::find(description.fields, name, &data::Field::name);
    if (field != description.fields.end()) add_field(batch, *field, description, images);
  }
  RehearsedBatch both{batch, batch, groups, passes};
  for (at::Tensor* column : {&both.on_device.group, &both.on_device.context, &both.on_device.label}) {
    if (column->defined()) *column = blank(column->sizes(), column->scalar_type());
  }
  return both;
}

Rehearsal rehearse(train::RunConfig config, method::Method& method, const data::Signature& signature,
                   const RehearsedBatch& batch, const Layout& layout) {
  prepare_meta_device();
  config.sharding.shard_size = layout.shards;
  for (const method::Part& part : method.parts()) move_to_meta(*part.model);
  const auto before = static_cast<double>(MetaMemory::live());
  Writer writer;
  comm::Communicator world = comm::pretend_ranks(layout.ranks, "world", writer);
  train::Engine engine(config, method, signature, at::kMeta, kSteps, world);
  const auto between = static_cast<double>(MetaMemory::live());
  Rehearsal rehearsal;
  rehearsal.memory = memory_between_steps(engine, between - before);
  batch.on_device.for_each_tensor([&](const at::Tensor& tensor, data::Batch::Use) {
    if (tensor.is_meta()) rehearsal.memory.batch += bytes_of(tensor);
  });
  Step step(config, method, engine, writer, world);
  static_cast<void>(step.run(batch, 0));
  writer.begin();
  MetaMemory::reset_peak();
  const OperatorRecording recording([&](const Operator& op) { writer.ran(op); });
  rehearsal.memory.activations = step.run(batch, 1) - between;
  rehearsal.memory.peak = static_cast<double>(MetaMemory::peak()) - before + rehearsal.memory.batch;
  rehearsal.actions = writer.take_actions();
  rehearsal.collectives = writer.take_collectives();
  return rehearsal;
}

}  // namespace cohort::perf
