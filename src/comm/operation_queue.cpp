#include "comm/operation_queue.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/trace.h"

#include "comm/activity.h"
#include "comm/missing.h"

namespace cohort::comm {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kUnwindingGrace = 200ms;
constexpr auto kSpinning = 1ms;  // of a caller; who waits for longer leaves the processor to others

// A twentieth of the time waited: short operations are noticed at once, long ones cost next to nothing.
Clock::duration pause_after(Clock::duration waited) {
  return std::clamp<Clock::duration>(waited / 20, 10us, 250us);
}

// MPI gives no way to cancel a collective: buffers that it may still touch are never freed.
void keep_for_ever(std::deque<std::shared_ptr<Work::State>> states) {
  static std::mutex mutex;
  static auto& kept = *new std::vector<std::deque<std::shared_ptr<Work::State>>>;
  const std::lock_guard lock(mutex);
  kept.push_back(std::move(states));
}

}  // namespace

OperationQueue::OperationQueue(MpiComm comm, const std::string& name, std::uint64_t id)
    : comm_(std::move(comm)),
      name_(name),
      history_(open_history(name, id, world_ranks_of(comm_.get()))),
      transport_{comm_.get(), rank_in(comm_.get()), size_of(comm_.get()), {}} {}

OperationQueue::~OperationQueue() {
  const bool unwinding = std::uncaught_exceptions() > 0;
  drain(unwinding ? Clock::now() + kUnwindingGrace : Clock::time_point::max());
  thread_ = {};
  if (abandoned_.empty()) return;
  keep_for_ever(std::move(abandoned_));
  comm_.release();
}

void OperationQueue::carry_on() {
  if (!thread_.joinable()) {
    thread_ = std::jthread([this](const std::stop_token& stop) { communicate(stop); });
  }
  wake_.notify_one();
}

void OperationQueue::run(Operation operation) {
  const auto state = enqueue(std::move(operation));
  wait_for(*state);
  if (state->error) std::rethrow_exception(state->error);
}

void OperationQueue::wait_for(const Work::State& state) {
  if (state.done.load(std::memory_order_acquire)) return;
  const TraceSpan span(TraceKind::wait, "wait for ", name_);
  const auto begin = Clock::now();
  change_waiting(+1);
  {
    const std::lock_guard turn(turn_);
    while (!state.done.load(std::memory_order_acquire)) {
      const auto waited = poll();
      if (state.done.load(std::memory_order_acquire)) break;
      if (waited < kSpinning) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(pause_after(waited));
      }
    }
  }
  if (change_waiting(-1)) wake_.notify_one();
  add_waiting_time(Clock::now() - begin);
}

bool OperationQueue::change_waiting(int by) {
  const std::lock_guard lock(queue_mutex_);
  waiting_ += by;
  return waiting_ == 0 && !queue_.empty();
}

std::shared_ptr<Work::State> OperationQueue::enqueue(Operation operation) {
  auto state = std::make_shared<Work::State>();
  state->operation = std::move(operation);
  state->queue = this;
  const std::lock_guard lock(queue_mutex_);
  state->sequence = history_->submit(state->operation.name, state->operation.bytes);
  if (broken_) {
    state->error = broken_;
    state->done = true;
  } else {
    queue_.push_back(state);
  }
  return state;
}

std::shared_ptr<Work::State> OperationQueue::front() {
  const std::lock_guard lock(queue_mutex_);
  return queue_.empty() ? nullptr : queue_.front();
}

std::chrono::steady_clock::duration OperationQueue::poll() {
  const auto state = front();
  if (!state) return {};
  try {
    if (advance(*state)) {
      finish(*state);
      return {};
    }
  } catch (const RankError&) {
    // MPI does not say who or what was wrong: mostly ranks that called different operations.
    fail_all(explain_failure(*history_, state->sequence, {}, std::current_exception()));
    return {};
  } catch (...) {
    fail_all(std::current_exception());
    return {};
  }
  const auto waited = Clock::now() - state->step_started;
  if (waited > operation_timeout()) fail_all(explain_failure(*history_, state->sequence, waited));
  return waited;
}

bool OperationQueue::advance(Work::State& state) {
  while (true) {
    if (state.request != MPI_REQUEST_NULL) {
      int complete = 0;
      check_mpi(MPI_Test(&state.request, &complete, MPI_STATUS_IGNORE), state.operation.name.c_str());
      if (complete == 0) return false;
    }
    if (state.next_step == state.operation.steps.size()) return true;
    if (!state.polled) begin_step(state);
    const Step& step = state.operation.steps[state.next_step];
    if (const Poll* poll = std::get_if<Poll>(&step)) {
      const Progress progress = (*poll)(transport_);
      state.polled = progress != Progress::done;
      if (progress == Progress::some) state.step_started = Clock::now();
      if (state.polled) return false;
    } else {
      state.request = std::get<Post>(step)(transport_);
    }
    ++state.next_step;
  }
}

void OperationQueue::begin_step(Work::State& state) {
  state.step_started = Clock::now();
  if (state.next_step > 0) return;
  state.began = state.step_started;
  history_->begin(state.sequence);
}

void OperationQueue::trace(const Work::State& state) const {
  if (!is_tracing()) return;
  record_trace({TraceKind::communication, "communication: " + name_, state.operation.name, state.began,
                Clock::now(), state.operation.bytes});
}

void OperationQueue::finish(Work::State& state) {
  state.operation.steps.clear();
  trace(state);
  history_->end(state.sequence);
  const std::lock_guard lock(queue_mutex_);
  const auto kept = std::move(queue_.front());
  queue_.pop_front();
  state.done.store(true, std::memory_order_release);
}

void OperationQueue::fail_all(std::exception_ptr error) {
  const std::lock_guard lock(queue_mutex_);
  broken_ = std::move(error);
  for (auto& state : queue_) {
    if (state->began != Clock::time_point{}) abandoned_.push_back(state);
    state->error = broken_;
    state->done.store(true, std::memory_order_release);
  }
  queue_.clear();
}

void OperationQueue::communicate(const std::stop_token& stop) {
  while (true) {
    std::unique_lock lock(queue_mutex_);
    if (!wake_.wait(lock, stop, [this] { return !queue_.empty() && waiting_ == 0; })) return;
    const auto state = queue_.front();
    lock.unlock();
    Clock::duration waited{};
    {
      const std::lock_guard turn(turn_);
      waited = poll();
    }
    if (!state->done) std::this_thread::sleep_for(pause_after(waited));
  }
}

void OperationQueue::drain(Clock::time_point deadline) {
  while (front() && Clock::now() < deadline) {
    const std::lock_guard turn(turn_);
    poll();
    std::this_thread::yield();
  }
  if (!front()) return;
  thread_ = {};
  fail_all(std::make_exception_ptr(
      RankError({fmt::format("communicator '{}' was given up with operations under way", name_), {}, {}})));
}

}  // namespace cohort::comm
