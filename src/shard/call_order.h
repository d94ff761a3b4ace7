#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace cohort::shard {

/// In which order a model calls its units in a forward pass: what the last pass did is what the next one is
/// expected to do; before the first one, each unit is expected to be followed by the one behind it.
class CallOrder {
 public:
  explicit CallOrder(std::size_t units);

  /// A forward pass begins, or the step ends: nothing follows the unit that ran last.
  void end() noexcept;
  /// `unit` runs now. Returns what will probably run next in this forward pass, if anything.
  std::optional<std::size_t> call(std::size_t unit);

 private:
  std::vector<std::optional<std::size_t>> next_;  // by unit
  std::optional<std::size_t> current_;
};

/// The calls of units whose gradients a backward pass has to compute, in the order of the forward pass.
/// Autograd works through its nodes from the youngest to the oldest, so that it has left every later call
/// when it enters one: with skips, several outputs and towers too.
class OpenCalls {
 public:
  explicit OpenCalls(std::size_t units) : open_(units, 0), first_(units) {}

  /// Returns the number of the call.
  std::size_t add(std::size_t unit);
  [[nodiscard]] bool is_entered(std::size_t call) const { return calls_.at(call).entered; }
  void enter(std::size_t call) { calls_.at(call).entered = true; }
  [[nodiscard]] std::size_t unit_of(std::size_t call) const { return calls_.at(call).unit; }
  [[nodiscard]] std::size_t size() const noexcept { return calls_.size(); }
  /// Leaves the last call.
  void pop();
  /// Whether no call of `unit` is left.
  [[nodiscard]] bool is_done(std::size_t unit) const { return open_.at(unit) == 0; }
  void clear();

  /// Units in the order in which a backward pass over all calls since clear() is done with them; those that
  /// were not called at the end.
  [[nodiscard]] std::vector<std::size_t> order_of_completion() const;
  /// Tells sequences of calls apart: of all since the last time that this was asked.
  std::uint64_t take_digest() noexcept;

 private:
  struct Call {
    std::size_t unit;
    bool entered = false;
  };
  std::vector<Call> calls_;
  std::vector<std::int64_t> open_;                 // calls, by unit
  std::vector<std::optional<std::size_t>> first_;  // call, by unit
  std::uint64_t digest_ = 0;
};

}  // namespace cohort::shard
