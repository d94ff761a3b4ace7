#include "cohort/checkpoint/saver.h"

#include <future>
#include <utility>

#include <ATen/Functions.h>

#include "cohort/core/trace.h"

namespace cohort::checkpoint {
namespace {

using Clock = std::chrono::steady_clock;

std::int64_t total_values(const std::vector<Slice>& state) {
  std::int64_t total = 0;
  for (const Slice& slice : state) total += slice.values.numel();
  return total;
}

at::Tensor make_buffer(const std::vector<Slice>& state, std::int64_t values) {
  const bool pinned = !state.empty() && state.front().values.is_cuda();
  return at::empty({values}, at::TensorOptions(at::kFloat).pinned_memory(pinned));
}

}  // namespace

struct Saver::Impl {
  Impl(std::filesystem::path folder, const comm::Communicator& all_ranks, const CheckpointConfig& how)
      : config(how),
        ranks(all_ranks.duplicate("checkpoints")),
        store(std::move(folder), ranks, {config.keep_last, config.keep_every}) {}

  // One buffer for all slices, kept from save to save while the state has the same size.
  void copy(const std::vector<Slice>& state) {
    const std::int64_t values = total_values(state);
    if (!buffer.defined() || buffer.numel() != values) buffer = make_buffer(state, values);
    copied.clear();
    std::int64_t begin = 0;
    for (const Slice& slice : state) {
      const at::Tensor target = buffer.narrow(0, begin, slice.values.numel());
      target.copy_(slice.values);
      copied.push_back({slice.name, slice.shape, slice.begin, target});
      begin += slice.values.numel();
    }
  }

  CheckpointConfig config;
  comm::Communicator ranks;
  Store store;
  Clock::time_point last = Clock::now();
  at::Tensor buffer;
  std::vector<Slice> copied;
  std::future<void> writing;  // the last member: its destructor waits for the thread, which uses the others
};

Saver::Saver(std::filesystem::path folder, comm::Communicator& ranks, const CheckpointConfig& config)
    : impl_(std::make_unique<Impl>(std::move(folder), ranks, config)) {}

Saver::~Saver() = default;

bool Saver::is_due(std::int64_t steps_done) const noexcept {
  const auto divides = [&](std::int64_t every) { return every > 0 && steps_done % every == 0; };
  return divides(impl_->config.every_steps) || divides(impl_->config.keep_every);
}

bool Saver::is_time() const noexcept {
  const auto every = impl_->config.every;
  return every.count() > 0 && Clock::now() - impl_->last >= every;
}

void Saver::save(const std::vector<Slice>& state, const Meta& meta) {
  wait();
  impl_->last = Clock::now();
  if (!impl_->config.async) return impl_->store.save(state, meta);
  impl_->copy(state);
  impl_->writing = std::async(std::launch::async, [impl = impl_.get(), meta] {
    name_trace_lane("checkpoint");
    const TraceSpan span(TraceKind::checkpoint, "write step ", meta.step);
    impl->store.save(impl->copied, meta);
  });
}

void Saver::wait() {
  if (impl_->writing.valid()) impl_->writing.get();
}

}  // namespace cohort::checkpoint
