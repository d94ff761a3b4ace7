#include "comm/operation_history.h"

#include <chrono>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include "comm/activity.h"

namespace cohort::comm {
namespace {

std::mutex histories_mutex;  // opening, releasing, visiting
std::atomic<OperationHistory*> histories{nullptr};

using Words = std::array<std::uint64_t, 4>;

Words words_of(std::string_view operation) {
  const ShortText<32> text(operation);
  Words words;
  std::memcpy(words.data(), text.data(), sizeof words);
  return words;
}

std::uint64_t mixed(std::uint64_t hash, std::uint64_t word) noexcept {
  hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
  return hash ^ (hash >> 29);
}

}  // namespace

std::int64_t clock_nanoseconds() noexcept {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

// A reader that sees the sequence number before and after has a whole record: it is taken away first and
// written last.
std::int64_t OperationHistory::submit(std::string_view operation, std::int64_t bytes) noexcept {
  const std::int64_t sequence = submitted_.load(std::memory_order_relaxed) + 1;
  Slot& to = slot(sequence);
  to.sequence.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  const Words words = words_of(operation);
  for (std::size_t i = 0; i < words.size(); ++i) {
    to.operation[i].store(words[i], std::memory_order_relaxed);
    fingerprint_ = mixed(fingerprint_, words[i]);
  }
  fingerprint_ = mixed(fingerprint_, static_cast<std::uint64_t>(bytes));
  to.fingerprint.store(fingerprint_, std::memory_order_relaxed);
  to.bytes.store(bytes, std::memory_order_relaxed);
  to.step.store(activity().step, std::memory_order_relaxed);
  to.submitted.store(clock_nanoseconds(), std::memory_order_relaxed);
  to.began.store(0, std::memory_order_relaxed);
  to.ended.store(0, std::memory_order_relaxed);
  to.sequence.store(sequence, std::memory_order_release);
  submitted_.store(sequence, std::memory_order_release);
  return sequence;
}

void OperationHistory::begin(std::int64_t sequence) noexcept {
  slot(sequence).began.store(clock_nanoseconds(), std::memory_order_release);
}

void OperationHistory::end(std::int64_t sequence) noexcept {
  Slot& of = slot(sequence);
  if (of.sequence.load(std::memory_order_relaxed) == sequence)
    of.ended.store(clock_nanoseconds(), std::memory_order_relaxed);
  ended_.store(sequence, std::memory_order_release);
}

OperationRecord OperationHistory::find(std::int64_t sequence) const noexcept {
  OperationRecord record;
  if (sequence < 1) return record;
  const Slot& from = slot(sequence);
  if (from.sequence.load(std::memory_order_acquire) != sequence) return record;
  record.bytes = from.bytes.load(std::memory_order_relaxed);
  record.step = from.step.load(std::memory_order_relaxed);
  record.submitted = from.submitted.load(std::memory_order_relaxed);
  record.began = from.began.load(std::memory_order_relaxed);
  record.ended = from.ended.load(std::memory_order_relaxed);
  record.fingerprint = from.fingerprint.load(std::memory_order_relaxed);
  Words words;
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = from.operation[i].load(std::memory_order_relaxed);
  std::memcpy(record.operation.data(), words.data(), sizeof words);
  std::atomic_thread_fence(std::memory_order_acquire);
  if (from.sequence.load(std::memory_order_relaxed) != sequence) return {};
  record.sequence = sequence;
  return record;
}

OperationRecord OperationHistory::current() const noexcept {
  return find(std::min(ended() + 1, submitted()));
}

void OperationHistory::clear() noexcept {
  for (Slot& old : slots_) old.sequence.store(0, std::memory_order_relaxed);
  fingerprint_ = 0;
  ended_.store(0, std::memory_order_relaxed);
  submitted_.store(0, std::memory_order_release);
}

class Histories {
 public:
  static OperationHistory* open(std::string_view name, std::uint64_t id, std::vector<int> members) {
    const std::lock_guard lock(histories_mutex);
    OperationHistory* history = unused();
    history->clear();
    history->name_ = ShortText<24>(name);
    history->id_ = id;
    history->members_ = std::move(members);
    history->in_use_.store(true, std::memory_order_release);
    return history;
  }

  static void release(OperationHistory* history) noexcept {
    const std::lock_guard lock(histories_mutex);
    history->in_use_.store(false, std::memory_order_release);
  }

 private:
  static OperationHistory* unused() {
    for (OperationHistory* history = histories; history != nullptr; history = history->next_) {
      if (!history->in_use()) return history;
    }
    auto* const made = new OperationHistory;
    made->next_ = histories;
    histories = made;
    return made;
  }
};

void HistoryRelease::operator()(OperationHistory* history) const noexcept {
  Histories::release(history);
}

HistoryHandle open_history(std::string_view name, std::uint64_t id, std::vector<int> members) {
  return HistoryHandle(Histories::open(name, id, std::move(members)));
}

std::uint64_t combined_id(std::uint64_t id, std::uint64_t number) noexcept {
  return mixed(mixed(id, number), 1) | 1;
}

void for_each_history(const std::function<void(const OperationHistory&)>& visit) {
  const std::lock_guard lock(histories_mutex);
  for (const OperationHistory* history = histories; history != nullptr; history = history->next()) {
    if (history->in_use()) visit(*history);
  }
}

const OperationHistory* first_history() noexcept {
  return histories;
}

}  // namespace cohort::comm
