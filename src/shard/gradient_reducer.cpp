#include "gradient_reducer.h"

#include <utility>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "cohort/core/error.h"

namespace cohort::shard {
namespace {

// Sharded gradients travel in buffers of the size of a unit: that many wait for the network at most.
constexpr std::size_t kInFlight = 2;

}  // namespace

GradientReducer::GradientReducer(std::span<Unit> units, const Options& options, comm::DeviceMesh& mesh)
    : units_(units), options_(options), mesh_(mesh), progress_(units.size()) {
  const std::size_t root = units_.size() - 1;
  for (std::size_t unit = root; unit-- > 0;) order_.push_back(unit);
  order_.push_back(root);
  expected_ = order_;
  for (const std::size_t unit : order_) add_sources(unit);
}

GradientReducer::~GradientReducer() {
  for (const Source& source : sources_) source.accumulator->del_post_hook(source.hook);
}

void GradientReducer::add_sources(std::size_t unit) {
  for (std::size_t f = 0; f < units_[unit].flats().size(); ++f) {
    const FlatParameter& flat = *units_[unit].flats()[f];
    if (!flat.trained()) continue;
    for (std::size_t slot = 0; slot < flat.parameters().size(); ++slot) {
      Source& source = sources_.emplace_back();
      source.parameter = flat.parameters()[slot].tensor;
      source.unit = unit;
      source.flat = f;
      source.slot = slot;
      source.accumulator = torch::autograd::impl::grad_accumulator(source.parameter);
      source.hook =
          source.accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
              [this, &source](const auto& outputs, const auto&) {
                return gradient_arrived(source), outputs;
              }));
      ++progress_[unit].sources;
    }
  }
}

void GradientReducer::begin_step(int backward_passes) {
  COHORT_CHECK(backward_passes >= 1, "{} backward passes", backward_passes);
  COHORT_CHECK(in_flight_.empty(), "a step begins before the last one has ended: gradients are on their way");
  passes_ = backward_passes;
  pass_ = 0;
  order_ = expected_;
  if (options_.reproducible) {
    const int ranks = mesh_.world().size();
    tree_.emplace(std::int64_t{backward_passes} * ranks, ranks);
    sums_after_pass_ = tree_->sums_after_group(mesh_.world().rank());
    stacks_.clear();
  }
  begin_pass();
}

void GradientReducer::expect(std::vector<std::size_t> order) {
  order.push_back(units_.size() - 1);
  COHORT_CHECK(order.size() == units_.size(), "an order of {} of {} units", order.size(), units_.size());
  expected_ = std::move(order);
}

void GradientReducer::begin_pass() {
  started_ = 0;
  for (Progress& progress : progress_) {
    progress.missing = progress.sources;
    progress.complete = false;
  }
  for (Source& source : sources_) source.arrived = false;
}

void GradientReducer::gradient_arrived(Source& source) {
  COHORT_CHECK(is_open(), "a backward pass outside a step: begin_step() announces how many there are");
  Progress& progress = progress_[source.unit];
  const std::string& name = units_[source.unit].flats()[source.flat]->slots()[source.slot].name;
  COHORT_CHECK(!progress.complete,
               "a gradient of '{}' after its unit was complete; finish_backward() ends each backward pass",
               name);
  if (watches_ && bad_.empty() && !at::isfinite(source.parameter.grad()).all().item<bool>()) bad_ = name;
  FlatParameter& flat = *units_[source.unit].flats()[source.flat];
  flat.add_gradient(source.slot, source.parameter.grad());
  source.parameter.mutable_grad() = at::Tensor();
  if (source.arrived) return;
  source.arrived = true;
  --progress.missing;
  if (options_.complete_on_arrival && progress.missing == 0) complete(source.unit);
}

void GradientReducer::watch_gradients(bool on) {
  watches_ = on;
  bad_.clear();
}

void GradientReducer::complete(std::size_t unit) {
  progress_[unit].complete = true;
  start_complete();
}

void GradientReducer::start_complete() {
  while (started_ < order_.size() && progress_[order_[started_]].complete) {
    for (const auto& flat : units_[order_[started_]].flats()) {
      if (flat->trained()) start(*flat);
    }
    ++started_;
  }
}

void GradientReducer::start(FlatParameter& flat) {
  if (options_.reproducible) return start_tree(flat);
  if (reduces()) launch(start_reduction(flat, flat.take_gradient(), options_.every_pass && pass_ > 0, mesh_));
}

void GradientReducer::start_tree(FlatParameter& flat) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor>& stack = stacks_[&flat];
  stack.push_back(flat.take_gradient());
  for (int sums = sums_after_pass_[static_cast<std::size_t>(pass_)]; sums > 0; --sums) {
    const at::Tensor upper = std::move(stack.back());
    stack.pop_back();
    stack.back().add_(upper);
  }
  if (is_last_pass()) launch(start_tree_reduction(flat, std::move(stack), *tree_, mesh_));
}

void GradientReducer::launch(std::unique_ptr<Reduction> reduction) {
  const auto begin = Clock::now();
  if (!in_flight_.empty()) in_flight_.back()->advance();
  if (mesh_.shards() > 1 || options_.reproducible) limit_in_flight(kInFlight - 1);
  wait_ += Clock::now() - begin;
  in_flight_.push_back(std::move(reduction));
}

void GradientReducer::limit_in_flight(std::size_t most) {
  while (in_flight_.size() > most) {
    in_flight_.front()->finish();
    in_flight_.pop_front();
  }
}

void GradientReducer::finish_pass() {
  COHORT_CHECK(is_open(), "finish_backward() more often than begin_step() announced");
  for (Progress& progress : progress_) progress.complete = true;
  start_complete();
  const auto begin = Clock::now();
  limit_in_flight(0);
  wait_ += Clock::now() - begin;
  if (++pass_ < passes_) begin_pass();
}

std::chrono::duration<double> GradientReducer::take_wait() noexcept {
  return std::exchange(wait_, {});
}

}  // namespace cohort::shard
