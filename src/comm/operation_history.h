#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "comm/short_text.h"

namespace cohort::comm {

/// A collective on record. Times are clock_nanoseconds(); 0: not yet.
struct OperationRecord {
  std::int64_t sequence = 0;  ///< 1, 2 …; 0: no operation
  std::int64_t bytes = 0;
  std::int64_t step = 0;  ///< of training, when it was submitted
  std::int64_t submitted = 0, began = 0, ended = 0;
  std::uint64_t fingerprint = 0;  ///< of all operations up to this one: equal on all ranks, or they diverge
  ShortText<32> operation;        ///< "all_reduce f32"
};

/// The last operations of one communicator. One thread at a time submits, others read meanwhile without
/// locks, signal handlers as well. Objects are never freed but used again.
class OperationHistory {
 public:
  static constexpr std::int64_t kKept = 256;

  /// Its sequence number.
  std::int64_t submit(std::string_view operation, std::int64_t bytes) noexcept;
  void begin(std::int64_t sequence) noexcept;
  void end(std::int64_t sequence) noexcept;

  /// Sequence 0 when it is not on record (any more).
  [[nodiscard]] OperationRecord find(std::int64_t sequence) const noexcept;
  [[nodiscard]] std::int64_t submitted() const noexcept { return submitted_.load(std::memory_order_acquire); }
  [[nodiscard]] std::int64_t ended() const noexcept { return ended_.load(std::memory_order_acquire); }
  /// The operation under way, or else the last one; sequence 0: there was none.
  [[nodiscard]] OperationRecord current() const noexcept;

  [[nodiscard]] const char* name() const noexcept { return name_.data(); }
  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  [[nodiscard]] const std::vector<int>& members() const noexcept { return members_; }
  [[nodiscard]] OperationHistory* next() const noexcept { return next_; }
  [[nodiscard]] bool in_use() const noexcept { return in_use_.load(std::memory_order_acquire); }

 private:
  friend class Histories;
  struct Slot {
    std::atomic<std::int64_t> sequence, bytes, step, submitted, began, ended;
    std::atomic<std::uint64_t> fingerprint;
    std::array<std::atomic<std::uint64_t>, 4> operation;
  };
  [[nodiscard]] Slot& slot(std::int64_t sequence) noexcept {
    return slots_[static_cast<std::size_t>(sequence % kKept)];
  }
  [[nodiscard]] const Slot& slot(std::int64_t sequence) const noexcept {
    return slots_[static_cast<std::size_t>(sequence % kKept)];
  }
  void clear() noexcept;

  ShortText<24> name_;
  std::uint64_t id_ = 0;
  std::vector<int> members_;
  std::atomic<bool> in_use_{false};
  OperationHistory* next_ = nullptr;
  std::atomic<std::int64_t> submitted_{0}, ended_{0};
  std::uint64_t fingerprint_ = 0;  // of the thread that submits
  std::array<Slot, kKept> slots_{};
};

struct HistoryRelease {
  void operator()(OperationHistory* history) const noexcept;
};
using HistoryHandle = std::unique_ptr<OperationHistory, HistoryRelease>;

/// `id`: the same on all its ranks, another one for every communicator. `members`: their ranks in the world.
HistoryHandle open_history(std::string_view name, std::uint64_t id, std::vector<int> members);

/// An id made of that of a parent and a number, never 0.
std::uint64_t combined_id(std::uint64_t id, std::uint64_t number) noexcept;

/// Calls `visit` with the one of that id, if there is one: also with a released one that nothing else has
/// taken the place of, since a rank that has given up an operation is still asked whether it had come.
void visit_history(std::uint64_t id, const std::function<void(const OperationHistory&)>& visit);

/// Calls `visit` with those in use; none is opened or released meanwhile.
void for_each_history(const std::function<void(const OperationHistory&)>& visit);
/// The first of all that there ever were, in use or not; follow next(). For signal handlers.
const OperationHistory* first_history() noexcept;

/// Of this host's steady clock, to some milliseconds: takes a few nanoseconds.
std::int64_t clock_nanoseconds() noexcept;

}  // namespace cohort::comm
