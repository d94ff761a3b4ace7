#include "plan/schedule.h"

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <optional>

#include "shard/flat_parameter.h"
#include "shard/summation_tree.h"

namespace cohort::perf {
namespace {

using Kind = Instruction::Kind;

constexpr std::size_t kInFlight = 2;  // shard/gradient_reducer.cpp

std::int64_t rounded_up(std::int64_t count, std::int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

std::vector<PlannedParameter> matrices_first(std::vector<PlannedParameter> parameters) {
  std::stable_partition(parameters.begin(), parameters.end(),
                        [](const PlannedParameter& parameter) { return parameter.dimensions >= 2; });
  return parameters;
}

/// shard/norms.cpp: one sum for each chunk of values that a parameter has a part of.
std::int64_t norm_pieces(const std::vector<PlannedParameter>& parameters) {
  std::int64_t pieces = 0, begin = 0;
  for (const PlannedParameter& parameter : matrices_first(parameters)) {
    const std::int64_t end = begin + parameter.values;
    if (end > begin) pieces += (end - 1) / shard::kChunk - begin / shard::kChunk + 1;
    begin = rounded_up(end, shard::kAlignment);
  }
  return pieces;
}

/// Writes the instructions.
class Writer {
 public:
  explicit Writer(Schedule& schedule) : schedule_(schedule) {}

  /// `ranks`: of the communicator; alone there is nothing to do. Returns the number of the collective.
  std::optional<std::size_t> start(Lane lane, std::string operation, double bytes, double moved, int ranks) {
    if (ranks == 1) return std::nullopt;
    schedule_.collectives.push_back({lane, std::move(operation), bytes, moved});
    schedule_.instructions.push_back({.kind = Kind::start, .collective = schedule_.collectives.size() - 1});
    return schedule_.collectives.size() - 1;
  }
  void wait(std::optional<std::size_t> collective) {
    if (collective) schedule_.instructions.push_back({.kind = Kind::wait, .collective = *collective});
  }
  void compute(std::size_t part, int unit, Pass pass, double share = 1) {
    schedule_.instructions.push_back(
        {.kind = Kind::compute, .part = part, .unit = unit, .pass = pass, .share = share});
  }

 private:
  Schedule& schedule_;
};

/// One shard::Reduction: begun, advanced, finished.
class PlannedReduction {
 public:
  PlannedReduction(const PlannedFlat& flat, const shard::ShardingConfig& config, const Layout& layout,
                   int rounds, Writer& to)
      : to_(to), layout_(layout), tree_(rounds > 0) {
    const bool narrow = config.reduce == shard::WireType::bf16 && !tree_;
    type_ = narrow ? "bf16" : "f32";
    bytes_ = static_cast<double>(flat.length) * (narrow ? 2 : 4);
    for (int round = 0; round < rounds; ++round)
      first_.push_back(to_.start(Lane::mesh, "all_to_all f32", bytes_, bytes_, layout.ranks));
    if (tree_) return;
    if (layout.shards == 1) {
      sum_over_replicas();
    } else {
      first_.push_back(to_.start(Lane::gradients, "reduce_scatter " + type_, bytes_, bytes_, layout.shards));
    }
  }

  void advance() {
    if (first_.empty()) return;
    for (const auto& work : first_) to_.wait(work);
    first_.clear();
    if (!tree_) return sum_over_replicas();
    const double shard = bytes_ / layout_.shards;
    second_ = to_.start(Lane::replicate, "all_gather f32", shard / replicas(), shard, replicas());
  }
  void finish() {
    advance();
    to_.wait(second_);
    second_.reset();
  }

 private:
  [[nodiscard]] int replicas() const { return layout_.ranks / layout_.shards; }
  void sum_over_replicas() {
    const double shard = bytes_ / layout_.shards;
    second_ = to_.start(Lane::replicate, "all_reduce " + type_, shard, shard, replicas());
  }

  Writer& to_;
  Layout layout_;
  bool tree_;
  std::string type_;
  double bytes_ = 0;
  std::vector<std::optional<std::size_t>> first_;
  std::optional<std::size_t> second_;
};

/// shard::GradientReducer.
class PlannedReducer {
 public:
  PlannedReducer(const std::vector<std::vector<PlannedFlat>>& units, const train::RunConfig& config,
                 const Layout& layout, int passes, Writer& to)
      : units_(units), config_(config), layout_(layout), passes_(passes), to_(to), complete_(units.size()) {
    for (std::size_t unit = units.size() - 1; unit-- > 0;) order_.push_back(unit);
    order_.push_back(units.size() - 1);
    if (config.reproducible) {
      // The rank with most nodes; all take part in as many exchanges.
      const shard::SummationTree tree(std::int64_t{passes} * layout.ranks, layout.ranks);
      rounds_ = tree.most_nodes();
    }
  }

  void begin_pass(int pass) {
    pass_ = pass;
    started_ = 0;
    complete_.assign(units_.size(), false);
  }
  void complete(std::size_t unit) {
    complete_[unit] = true;
    for (; started_ < order_.size() && complete_[order_[started_]]; ++started_) {
      for (const PlannedFlat& flat : units_[order_[started_]]) {
        if (flat.trained && reduces()) launch(flat);
      }
    }
  }
  void finish_pass() {
    for (std::size_t unit = 0; unit < units_.size(); ++unit) complete_[unit] = true;
    complete(0);
    limit_in_flight(0);
  }

 private:
  [[nodiscard]] bool reduces() const {
    const bool is_last = pass_ + 1 == passes_;
    return is_last || (config_.train.reduce_every_micro_batch && !config_.reproducible);
  }
  void launch(const PlannedFlat& flat) {
    if (!in_flight_.empty()) in_flight_.back()->advance();
    if (layout_.shards > 1 || config_.reproducible) limit_in_flight(kInFlight - 1);
    in_flight_.push_back(std::make_unique<PlannedReduction>(flat, config_.sharding, layout_, rounds_, to_));
  }
  void limit_in_flight(std::size_t most) {
    for (; in_flight_.size() > most; in_flight_.pop_front()) in_flight_.front()->finish();
  }

  const std::vector<std::vector<PlannedFlat>>& units_;
  const train::RunConfig& config_;
  Layout layout_;
  int passes_, pass_ = 0, rounds_ = 0;
  Writer& to_;
  std::vector<bool> complete_;
  std::vector<std::size_t> order_;
  std::size_t started_ = 0;
  std::deque<std::unique_ptr<PlannedReduction>> in_flight_;
};

/// nn::ContextInference in global scope: sums over all ranks at the input, and layerwise after each block but
/// the last.
struct ContextSums {
  double bytes = 0;  ///< of the table of sums and counts; 0: nothing is summed over ranks
  bool layerwise = false, has_gradient = false;
};

ContextSums context_sums(const nn::VitShape& model, nn::Scope scope) {
  using enum nn::Amortization;
  const nn::Amortization how = model.context.amortization;
  if (scope != nn::Scope::global || model.context.keys.empty() || how == dictionary ||
      how == dictionary_layer)
    return {};
  std::int64_t rows = 0;
  for (const std::int64_t values : model.vocabulary) rows += values;
  const bool detached = how == mean_detach || how == mean_linear_detach || how == mean_detach_layer ||
                        how == mean_linear_detach_layer;
  return {4.0 * static_cast<double>(rows * (model.embed_dim + 1)), nn::is_layerwise(how), !detached};
}

/// shard::ShardedModel: which units are whole, on their way, or sharded.
class PlannedModel {
 public:
  PlannedModel(const PlannedPart& part, std::size_t number, const Workload& workload, const Layout& layout,
               int passes, Writer& to)
      : number_(number),
        config_(workload.config),
        layout_(layout),
        sums_(context_sums(workload.model, config_.context.scope)),
        to_(to) {
    const train::RunConfig& config = config_;
    for (std::size_t unit = 0; unit < part.units.size(); ++unit) {
      units_.push_back(
          flats_of(part.units[unit], unit + 1 == part.units.size(), config.sharding, layout.ranks));
      bool all = true;
      for (const PlannedParameter& parameter : part.units[unit])
        all = all && (!parameter.trained || parameter.has_gradient);
      all_arrive_.push_back(all);
    }
    state_.assign(units_.size(), State::sharded);
    gathers_.resize(units_.size());
    open_.assign(units_.size(), 0);
    if (part.trained) reducer_ = std::make_unique<PlannedReducer>(units_, config, layout, passes, to);
  }

  void begin_pass(int pass) {
    if (reducer_) reducer_->begin_pass(pass);
  }

  /// On views that are `share` of all.
  void forward(double share) {
    make_whole(root());
    if (root() > 0) start_gather(0);
    to_.compute(number_, kRoot, Pass::forward, share);
    sum_context();
    for (std::size_t unit = 0; unit < root(); ++unit) {
      make_whole(unit);
      const bool is_last = unit + 1 == root();
      if (!is_last) start_gather(unit + 1);
      to_.compute(number_, static_cast<int>(unit), Pass::forward, share);
      if (sums_.layerwise && !is_last) sum_context();
      if (reducer_) ++open_[unit];
      if (!reducer_ || (config_.sharding.reshard_after_forward && !is_last)) release(unit);
    }
  }

  void backward(double share) {
    for (std::size_t unit = root(); unit-- > 0;) {
      enter_backward(unit);
      const bool has_sums = sums_.layerwise && unit + 1 < root();
      if (has_sums && config_.sharding.activation_checkpointing) sum_context();
      if (has_sums && sums_.has_gradient) sum_context();
      to_.compute(number_, static_cast<int>(unit), Pass::backward, share);
      const bool is_last_visit = open_[unit] == 0;
      if (is_last_visit && all_arrive_[unit] && !config_.sharding.activation_checkpointing)
        reducer_->complete(unit);
    }
    if (sums_.has_gradient) sum_context();
  }

  void finish_backward(bool computed) {
    if (computed) to_.compute(number_, kRoot, Pass::backward);
    if (reducer_) reducer_->finish_pass();
    for (std::size_t unit = 0; unit < units_.size(); ++unit) {
      open_[unit] = 0;
      release(unit);
    }
    entered_.reset();
  }

 private:
  enum class State { sharded, gathering, whole };

  [[nodiscard]] std::size_t root() const { return units_.size() - 1; }
  [[nodiscard]] bool keeps_whole() const {
    return layout_.shards == 1 || config_.sharding.strategy == shard::Strategy::optimizer;
  }

  void sum_context() {
    if (sums_.bytes > 0)
      to_.wait(to_.start(Lane::world, "all_reduce f32", sums_.bytes, sums_.bytes, layout_.ranks));
  }
  void start_gather(std::size_t unit) {
    if (state_[unit] != State::sharded) return;
    for (const PlannedFlat& flat : units_[unit]) {
      const double bytes = static_cast<double>(flat.length) * (flat.narrow ? 2 : 4);
      gathers_[unit].push_back(to_.start(Lane::parameters, flat.narrow ? "all_gather bf16" : "all_gather f32",
                                         bytes / layout_.shards, bytes, layout_.shards));
    }
    state_[unit] = State::gathering;
  }
  void make_whole(std::size_t unit) {
    start_gather(unit);
    for (const auto& gather : gathers_[unit]) to_.wait(gather);
    gathers_[unit].clear();
    state_[unit] = State::whole;
  }
  void release(std::size_t unit) {
    if (state_[unit] == State::whole && !keeps_whole()) state_[unit] = State::sharded;
  }
  void enter_backward(std::size_t unit) {
    if (entered_) leave_backward(*entered_, unit);
    make_whole(unit);
    --open_[unit];
    if (unit > 0) {
      start_gather(unit - 1);
    } else if (open_[root() - 1] > 0) {
      start_gather(root() - 1);  // of an earlier forward pass
    }
    entered_ = unit;
  }
  void leave_backward(std::size_t unit, std::size_t next) {
    if (unit != next) release(unit);
    if (open_[unit] == 0) reducer_->complete(unit);
  }

  std::size_t number_;
  const train::RunConfig& config_;
  Layout layout_;
  ContextSums sums_;
  Writer& to_;
  std::vector<std::vector<PlannedFlat>> units_;
  std::vector<bool> all_arrive_;
  std::vector<State> state_;
  std::vector<std::vector<std::optional<std::size_t>>> gathers_;
  std::vector<int> open_;
  std::optional<std::size_t> entered_;  // the unit that the backward pass is in
  std::unique_ptr<PlannedReducer> reducer_;
};

/// Views of one size are computed together: their part of all tokens.
std::vector<double> shares_of_views(const Workload& workload, std::size_t count) {
  std::vector<double> tokens;
  double sum = 0;
  for (std::size_t v = 0; v < count; ++v) {
    const auto of_view = static_cast<double>(tokens_of(workload.model, workload.views[v]));
    if (v > 0 && workload.views[v] == workload.views[v - 1]) {
      tokens.back() += of_view;
    } else {
      tokens.push_back(of_view);
    }
    sum += of_view;
  }
  for (double& share : tokens) share /= sum;
  return tokens;
}

/// The trainer's own sums, in fp64: train/step_totals.cpp.
double totals_bytes(const Workload& workload, int ranks, int passes) {
  const int metrics = workload.head ? 4 : 1;
  return 8.0 * (6 + 2 * metrics + ranks * passes + 3 * ranks);
}

void start_and_wait(Writer& to, Lane lane, const char* operation, double bytes, int ranks) {
  to.wait(to.start(lane, operation, bytes, bytes, ranks));
}

}  // namespace

std::string_view lane_name(Lane lane) noexcept {
  constexpr std::array<std::string_view, kLanes> kNames{"parameters", "gradients", "replicate", "mesh",
                                                        "world"};
  return kNames[static_cast<std::size_t>(lane)];
}

std::int64_t padded_length(const std::vector<PlannedParameter>& parameters, int ranks) {
  std::int64_t size = 0;
  for (const PlannedParameter& parameter : parameters)
    size = rounded_up(size + parameter.values, shard::kAlignment);
  return rounded_up(std::max<std::int64_t>(size, 1), ranks * shard::kChunk);
}

std::vector<PlannedFlat> flats_of(const std::vector<PlannedParameter>& unit, bool is_root,
                                  const shard::ShardingConfig& config, int ranks) {
  const auto is_narrow = [&](const PlannedParameter& parameter) {
    return config.gather == shard::WireType::bf16 && !is_root && parameter.dimensions >= 2;
  };
  std::vector<PlannedFlat> flats;
  std::vector<PlannedParameter> rest = unit;
  std::stable_partition(rest.begin(), rest.end(), [](const auto& parameter) { return parameter.trained; });
  while (!rest.empty()) {
    const bool narrow = is_narrow(rest.front()), trained = rest.front().trained;
    const auto end = std::stable_partition(rest.begin(), rest.end(), [&](const PlannedParameter& other) {
      return is_narrow(other) == narrow && other.trained == trained;
    });
    const std::vector<PlannedParameter> alike(rest.begin(), end);
    flats.push_back({padded_length(alike, ranks), narrow, trained, norm_pieces(alike)});
    rest.erase(rest.begin(), end);
  }
  return flats;
}

Schedule make_schedule(const Workload& workload, const Layout& layout, int micro_batches) {
  Schedule schedule;
  Writer to(schedule);
  const train::RunConfig& config = workload.config;
  std::vector<std::unique_ptr<PlannedModel>> models;
  for (std::size_t p = 0; p < workload.parts.size(); ++p) {
    models.push_back(
        std::make_unique<PlannedModel>(workload.parts[p], p, workload, layout, micro_batches, to));
  }
  PlannedModel& trained = *models.front();
  const bool is_dino = workload.head.has_value();
  std::optional<std::size_t> counting;
  const double counts = 8.0 * static_cast<double>(workload.counts);
  if (workload.counts > 0) counting = to.start(Lane::world, "all_reduce i64", counts, counts, layout.ranks);
  for (int pass = 0; pass < micro_batches; ++pass) {
    for (const auto& model : models) model->begin_pass(pass);
    if (is_dino) models[1]->forward(1);
    const std::vector<double> shares = shares_of_views(workload, workload.views.size());
    for (const double share : shares) trained.forward(share);
    if (pass == 0) to.wait(counting);
    for (auto share = shares.rbegin(); share != shares.rend(); ++share) trained.backward(*share);
    for (std::size_t p = 0; p < models.size(); ++p) models[p]->finish_backward(p == 0);
  }
  std::int64_t pieces = 0;
  const PlannedPart& part = workload.parts.front();
  for (std::size_t unit = 0; unit < part.units.size(); ++unit) {
    for (const PlannedFlat& flat :
         flats_of(part.units[unit], unit + 1 == part.units.size(), config.sharding, layout.ranks))
      pieces += flat.norm_pieces;
  }
  start_and_wait(to, Lane::gradients, "all_reduce f64", 8.0 * static_cast<double>(pieces), layout.shards);
  start_and_wait(to, Lane::world, "all_reduce f64", totals_bytes(workload, layout.ranks, micro_batches),
                 layout.ranks);
  to.compute(0, kRoot, Pass::optimizer);
  if (is_dino) {
    to.compute(0, kRoot, Pass::average);
    start_and_wait(to, Lane::world, "all_reduce i64",
                   8.0 * static_cast<double>(workload.head->prototypes + 1), layout.ranks);
  }
  return schedule;
}

}  // namespace cohort::perf
