#include "cohort/core/workers.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "cohort/core/error.h"

namespace cohort {

struct Workers::Impl {
  std::mutex mutex;
  std::condition_variable_any begins, ends;
  const std::function<void(std::int64_t)>* body = nullptr;  // of the loop under way
  std::int64_t count = 0, loops = 0, active = 0;
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> cancelled{false};
  std::exception_ptr error;
  std::int64_t error_at = 0;
  std::vector<std::jthread> threads;  // last: they end before what they use

  void help(const std::stop_token& stop);
  void work(const std::function<void(std::int64_t)>& passes);
  void keep(std::exception_ptr thrown, std::int64_t at);
};

void Workers::Impl::keep(std::exception_ptr thrown, std::int64_t at) {
  const std::lock_guard lock(mutex);
  if (error && error_at < at) return;
  error = std::move(thrown);
  error_at = at;
}

void Workers::Impl::work(const std::function<void(std::int64_t)>& passes) {
  while (!cancelled.load(std::memory_order_relaxed)) {
    const std::int64_t at = next.fetch_add(1);
    if (at >= count) return;
    try {
      passes(at);
    } catch (...) {
      keep(std::current_exception(), at);
      next.store(count);
    }
  }
}

void Workers::Impl::help(const std::stop_token& stop) {
  std::int64_t seen = 0;
  std::unique_lock lock(mutex);
  while (begins.wait(lock, stop, [&] { return loops != seen; })) {
    seen = loops;
    if (body == nullptr) continue;  // this loop has ended without us
    ++active;
    const auto& passes = *body;  // for_each() takes `body` back while we work, and keeps what it points to
    lock.unlock();
    work(passes);
    lock.lock();
    if (--active == 0) ends.notify_one();
  }
}

Workers::Workers(std::int64_t threads) : impl_(std::make_unique<Impl>()) {
  COHORT_CHECK(threads >= 1, "{} worker threads", threads);
  for (std::int64_t i = 1; i < threads; ++i)
    impl_->threads.emplace_back([impl = impl_.get()](const std::stop_token& stop) { impl->help(stop); });
}

Workers::~Workers() = default;

std::int64_t Workers::threads() const noexcept {
  return static_cast<std::int64_t>(impl_->threads.size()) + 1;
}

void Workers::for_each(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->body = &body;
    impl_->count = count;
    impl_->next = 0;
    impl_->error = nullptr;
    ++impl_->loops;
  }
  impl_->begins.notify_all();
  impl_->work(body);
  std::unique_lock lock(impl_->mutex);
  impl_->body = nullptr;
  impl_->ends.wait(lock, [&] { return impl_->active == 0; });
  if (impl_->error) std::rethrow_exception(impl_->error);
  if (impl_->cancelled) throw Cancelled{};
}

void Workers::cancel() noexcept {
  impl_->cancelled = true;
}

}  // namespace cohort
