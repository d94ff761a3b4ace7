#include "cohort/data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <stop_token>
#include <thread>
#include <variant>

#include "cohort/core/error.h"
#include "cohort/core/trace.h"

namespace cohort::data {

namespace {

std::size_t bytes_of(const Batch& batch) {
  std::size_t sum = 0;
  batch.for_each_tensor([&](const at::Tensor& tensor, Batch::Use) { sum += tensor.nbytes(); });
  return sum;
}

}  // namespace

struct Loader::Impl {
  explicit Impl(const LoaderConfig& config)
      : capacity(static_cast<std::size_t>(config.prefetch)),
        capacity_bytes(config.prefetch_bytes.count),
        workers(std::max<std::int64_t>(config.threads, 1)) {}

  using Made = std::variant<Batch, std::exception_ptr>;

  Make make;
  std::int64_t next_step, last;  // of the consumer
  std::size_t capacity, capacity_bytes;
  std::mutex mutex;
  std::condition_variable_any made, taken;
  std::deque<Made> queue;
  std::size_t bytes = 0;  // of the batches in the queue
  Workers workers;
  std::chrono::duration<double> wait{0};
  std::jthread thread;  // last: it ends before what it uses; none: next() makes batches itself

  void work(const std::stop_token& stop);
  Batch made_now(std::int64_t step);
  Made attempt(std::int64_t step);
  bool push(Made batch, const std::stop_token& stop);
  Batch take();
};

Batch Loader::Impl::made_now(std::int64_t step) {
  const TraceSpan span(TraceKind::data, "batch of step ", step + 1);
  return make(step, workers);
}

Loader::Impl::Made Loader::Impl::attempt(std::int64_t step) {
  try {
    return made_now(step);
  } catch (...) {
    return std::current_exception();
  }
}

/// False when the loader is being destroyed.
bool Loader::Impl::push(Made batch, const std::stop_token& stop) {
  const std::size_t its_bytes = std::holds_alternative<Batch>(batch) ? bytes_of(std::get<Batch>(batch)) : 0;
  std::unique_lock lock(mutex);
  const auto has_room = [&] {
    return queue.empty() || (queue.size() < capacity && bytes + its_bytes <= capacity_bytes);
  };
  if (!taken.wait(lock, stop, has_room)) return false;
  queue.push_back(std::move(batch));
  bytes += its_bytes;
  made.notify_one();
  return true;
}

void Loader::Impl::work(const std::stop_token& stop) {
  name_trace_lane("loader");
  for (std::int64_t step = next_step; step < last && !stop.stop_requested(); ++step) {
    Made batch = attempt(step);
    const bool failed = std::holds_alternative<std::exception_ptr>(batch);
    if (!push(std::move(batch), stop) || failed) return;
  }
}

Loader::Loader(Make make, std::int64_t first, std::int64_t last, const LoaderConfig& config)
    : impl_(std::make_unique<Impl>(config)) {
  COHORT_CHECK(first <= last && config.prefetch > 0, "a loader of steps {} to {}, {} ahead", first, last,
               config.prefetch);
  impl_->make = std::move(make);
  impl_->next_step = first;
  impl_->last = last;
  if (config.threads == 0) return;
  impl_->thread = std::jthread([impl = impl_.get()](const std::stop_token& stop) { impl->work(stop); });
}

Loader::~Loader() {
  impl_->thread.request_stop();
  impl_->workers.cancel();
}

Batch Loader::Impl::take() {
  std::unique_lock lock(mutex);
  made.wait(lock, [this] { return !queue.empty(); });
  if (const auto* error = std::get_if<std::exception_ptr>(&queue.front())) std::rethrow_exception(*error);
  Batch batch = std::get<Batch>(std::move(queue.front()));
  queue.pop_front();
  bytes -= bytes_of(batch);
  taken.notify_one();
  return batch;
}

Batch Loader::next() {
  COHORT_CHECK(impl_->next_step < impl_->last, "the loader has no batch after step {}", impl_->last - 1);
  const auto start = std::chrono::steady_clock::now();
  Batch batch = impl_->thread.joinable() ? impl_->take() : impl_->made_now(impl_->next_step);
  impl_->wait += std::chrono::steady_clock::now() - start;
  ++impl_->next_step;
  return batch;
}

std::chrono::duration<double> Loader::take_wait() noexcept {
  return std::exchange(impl_->wait, {});
}

}  // namespace cohort::data
