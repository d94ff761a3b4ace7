#include "cohort/shard/sharded_model.h"

#include <array>
#include <cmath>
#include <deque>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <c10/util/StringUtil.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "cohort/core/error.h"
#include "cohort/nn/unit_model.h"

#include "flat_unit.h"

namespace cohort::shard {
namespace {

using Clock = std::chrono::steady_clock;

// The trained parameters of each unit, the root unit last; units without any are left out. A parameter that
// appears twice (tied weights) belongs to the first unit that has it and keeps the first name.
std::vector<std::vector<NamedParameter>> trained_by_unit(const nn::UnitModel& model) {
  std::unordered_map<const c10::TensorImpl*, std::string> names;
  for (const auto& item : model.named_parameters())
    names.emplace(item.value().unsafeGetTensorImpl(), item.key());
  std::unordered_set<const c10::TensorImpl*> taken;
  std::vector<std::vector<NamedParameter>> result;
  const auto take = [&](const std::vector<at::Tensor>& parameters, std::vector<NamedParameter>& unit) {
    for (const at::Tensor& parameter : parameters) {
      const auto* key = parameter.unsafeGetTensorImpl();
      COHORT_CHECK(names.contains(key), "a unit has a parameter that its model does not know");
      if (parameter.requires_grad() && taken.insert(key).second) unit.push_back({names.at(key), parameter});
    }
  };
  for (const auto& modules : model.units()) {
    std::vector<NamedParameter> unit;
    for (const auto& module : modules) take(module->parameters(), unit);
    if (!unit.empty()) result.push_back(std::move(unit));
  }
  std::vector<NamedParameter> root;
  take(model.parameters(), root);
  if (!root.empty()) result.push_back(std::move(root));
  return result;
}

std::string description_of(const nn::UnitModel& model) {
  std::string text;
  for (const auto& item : model.named_parameters()) {
    text += fmt::format("{} {} {}\n", item.key(), item.value().requires_grad() ? "trained" : "frozen",
                        c10::str(item.value().sizes()));
  }
  return text;
}

// Overwrites a frozen parameter or buffer of any dtype with that of rank 0.
void broadcast_bytes(const at::Tensor& tensor, comm::Communicator& ranks) {
  if (tensor.numel() == 0) return;
  const at::Tensor values = tensor.detach().contiguous().flatten().view(at::kByte);
  ranks.broadcast(values).wait();
  if (!tensor.is_contiguous()) tensor.detach().copy_(values.view(tensor.scalar_type()).view(tensor.sizes()));
}

// The length is a multiple of the number of lanes. Lanes let the compiler use vector registers without
// changing the order in which any one sum is formed.
double sum_of_squares(const at::Tensor& values) {
  constexpr std::int64_t kLanes = 8;
  const at::Tensor host = values.cpu();
  const float* value = host.const_data_ptr<float>();
  std::array<double, kLanes> lanes{};
  for (std::int64_t i = 0; i + kLanes <= host.numel(); i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double x = value[i + lane];
      lanes[static_cast<std::size_t>(lane)] += x * x;
    }
  }
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

std::span<const config::EnumName<Strategy>> enum_names(Strategy) {
  static constexpr std::array names{config::EnumName<Strategy>{Strategy::replicate, "replicate"}};
  return names;
}

struct ShardedModel::Impl {
  struct Pending {
    std::size_t unit = 0;
    std::size_t expected = 0;  // gradients still to come in this step
  };
  struct Hook {
    std::shared_ptr<torch::autograd::Node> accumulator;
    std::uintptr_t key = 0;
    std::size_t place = 0;  // of its unit in the queue
    int arrived = 0;        // gradients in this step
  };

  std::shared_ptr<nn::UnitModel> model;
  std::deque<FlatUnit> units;
  std::vector<FlatShard> shards;
  std::optional<comm::Communicator> gradients;  // none on a single rank
  std::deque<Hook> hooks;
  std::vector<Pending> queue;
  int passes = 1;           // backward passes in this step
  std::size_t started = 0;  // reductions of `queue` under way
  bool reduced = false;     // finish_backward() was called and zero_gradients() was not
  std::vector<comm::Work> work;
  Clock::duration wait{};

  Impl(std::shared_ptr<nn::UnitModel> whole, comm::Communicator& ranks) : model(std::move(whole)) {
    comm::together(ranks, [&] {
      for (auto& parameters : trained_by_unit(*model)) units.emplace_back(std::move(parameters));
    });
    if (ranks.size() > 1) {
      make_alike(ranks);
      gradients.emplace(ranks.duplicate("gradients"));
    }
    for (const FlatUnit& unit : units) {
      shards.push_back(unit.shard());
      shards.back().replica = ranks.rank();
      shards.back().replicas = ranks.size();
    }
    fill_queue();
    add_hooks();
    expect(1);
  }

  ~Impl() {
    for (const Hook& hook : hooks) hook.accumulator->del_post_hook(hook.key);
  }

  void make_alike(comm::Communicator& ranks) const {
    const std::string mine = description_of(*model), theirs = ranks.broadcast_text(mine);
    comm::together(ranks, [&] {
      COHORT_CHECK(mine == theirs, "the models of the ranks differ:\n{}of rank 0:\n{}", mine, theirs);
    });
    for (const FlatUnit& unit : units) ranks.broadcast(unit.value()).wait();
    for (const at::Tensor& parameter : model->parameters()) {
      if (!parameter.requires_grad()) broadcast_bytes(parameter, ranks);
    }
    for (const at::Tensor& buffer : model->buffers()) broadcast_bytes(buffer, ranks);
  }

  // Reductions start in one order on all ranks, whatever order gradients become complete in: last unit first,
  // as the backward pass goes. The root unit holds embeddings, whose gradients come last, so that it stands
  // at the end.
  void fill_queue() {
    if (units.empty()) return;
    const std::size_t root = units.size() - 1;
    for (std::size_t i = root; i-- > 0;) queue.push_back({i, 0});
    queue.push_back({root, 0});
  }

  void add_hooks() {
    for (std::size_t place = 0; place < queue.size(); ++place) {
      for (const NamedParameter& parameter : units[queue[place].unit].parameters()) {
        Hook& hook = hooks.emplace_back();  // a deque: it stays where it is
        hook.accumulator = torch::autograd::impl::grad_accumulator(parameter.tensor);
        hook.place = place;
        hook.key = hook.accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
            [this, &hook](const auto& outputs, const auto&) { return gradient_arrived(hook), outputs; }));
      }
    }
  }

  void expect(int backward_passes) {
    for (Pending& pending : queue) {
      pending.expected = units[pending.unit].parameters().size() * static_cast<std::size_t>(backward_passes);
    }
    for (Hook& hook : hooks) hook.arrived = 0;
    passes = backward_passes;
    started = 0;
    reduced = false;
  }

  void gradient_arrived(Hook& hook) {
    COHORT_CHECK(!reduced, "a backward pass after finish_backward(); zero_gradients() starts the next step");
    COHORT_CHECK(++hook.arrived <= passes, "more backward passes than the {} that zero_gradients() was told",
                 passes);
    --queue[hook.place].expected;
    while (started < queue.size() && queue[started].expected == 0) start_next();
  }

  void start_next() {
    const FlatUnit& unit = units[queue[started++].unit];
    if (gradients) work.push_back(gradients->all_reduce(unit.gradient()));
  }

  void finish() {
    COHORT_CHECK(!reduced, "finish_backward() twice in a step");
    for (const FlatUnit& unit : units) unit.check_views();
    while (started < queue.size()) start_next();
    const auto begin = Clock::now();
    for (comm::Work& each : work) each.wait();
    wait += Clock::now() - begin;
    work.clear();
    reduced = true;
  }
};

ShardedModel::ShardedModel(std::shared_ptr<nn::UnitModel> model, const ShardingConfig& config,
                           comm::Communicator& ranks) {
  COHORT_CHECK(config.strategy == Strategy::replicate, "unknown strategy");
  impl_ = std::make_unique<Impl>(std::move(model), ranks);
  impl_->model->use(*this);
}

ShardedModel::~ShardedModel() = default;

at::Tensor ShardedModel::run(std::size_t /*index*/, const at::Tensor& input, const Body& body) {
  return body(input);
}

void ShardedModel::zero_gradients(int backward_passes) {
  COHORT_CHECK(backward_passes >= 1, "{} backward passes", backward_passes);
  COHORT_CHECK(impl_->work.empty(), "zero_gradients() before finish_backward(): gradients are on their way");
  for (FlatShard& shard : impl_->shards) shard.gradient.zero_();
  impl_->expect(backward_passes);
}

void ShardedModel::finish_backward() {
  impl_->finish();
}

std::chrono::duration<double> ShardedModel::take_wait() noexcept {
  return std::exchange(impl_->wait, {});
}

std::span<FlatShard> ShardedModel::shards() noexcept {
  return impl_->shards;
}

double ShardedModel::gradient_norm() {
  double sum = 0.0;
  for (const FlatShard& shard : impl_->shards) sum += sum_of_squares(shard.gradient);
  return std::sqrt(sum);
}

}  // namespace cohort::shard
