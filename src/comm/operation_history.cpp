#include "comm/operation_history.h"

#include <cstring>
#include <ctime>
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

// steady_clock is CLOCK_MONOTONIC; this reads the same time without asking the hardware.
std::int64_t clock_nanoseconds() noexcept {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

// A reader that sees the sequence number before and after has a whole record: it is taken away first and
// written last, and nobody who sees a new field (release, acquire) can still see the old number.
std::int64_t OperationHistory::submit(std::string_view operation, std::int64_t bytes) noexcept {
  constexpr auto kOrder = std::memory_order_release;
  const std::int64_t sequence = submitted_.load(std::memory_order_relaxed) + 1;
  Slot& to = slot(sequence);
  to.sequence.store(0, std::memory_order_relaxed);
  const Words words = words_of(operation);
  for (std::size_t i = 0; i < words.size(); ++i) {
    to.operation[i].store(words[i], kOrder);
    fingerprint_ = mixed(fingerprint_, words[i]);
  }
  fingerprint_ = mixed(fingerprint_, static_cast<std::uint64_t>(bytes));
  to.fingerprint.store(fingerprint_, kOrder);
  to.bytes.store(bytes, kOrder);
  to.step.store(activity().step, kOrder);
  to.submitted.store(clock_nanoseconds(), kOrder);
  to.began.store(0, kOrder);
  to.ended.store(0, kOrder);
  to.sequence.store(sequence, kOrder);
  submitted_.store(sequence, kOrder);
  return sequence;
}

void OperationHistory::begin(std::int64_t sequence) noexcept {
  Slot& of = slot(sequence);
  if (of.sequence.load(std::memory_order_relaxed) == sequence)
    of.began.store(clock_nanoseconds(), std::memory_order_release);
}

void OperationHistory::end(std::int64_t sequence) noexcept {
  Slot& of = slot(sequence);
  if (of.sequence.load(std::memory_order_relaxed) == sequence)
    of.ended.store(clock_nanoseconds(), std::memory_order_relaxed);
  ended_.store(sequence, std::memory_order_release);
}

OperationRecord OperationHistory::find(std::int64_t sequence) const noexcept {
  constexpr auto kOrder = std::memory_order_acquire;
  if (sequence < 1) return {};
  OperationRecord record;
  const Slot& from = slot(sequence);
  if (from.sequence.load(kOrder) != sequence) return {};
  record.bytes = from.bytes.load(kOrder);
  record.step = from.step.load(kOrder);
  record.submitted = from.submitted.load(kOrder);
  record.began = from.began.load(kOrder);
  record.ended = from.ended.load(kOrder);
  record.fingerprint = from.fingerprint.load(kOrder);
  Words words;
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = from.operation[i].load(kOrder);
  std::memcpy(record.operation.data(), words.data(), sizeof words);
  if (from.sequence.load(kOrder) != sequence) return {};
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

void visit_history(std::uint64_t id, const std::function<void(const OperationHistory&)>& visit) {
  const std::lock_guard lock(histories_mutex);
  for (const OperationHistory* history = histories; history != nullptr; history = history->next()) {
    if (history->id() == id) visit(*history);
  }
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
