#pragma once
#include <cstdint>
#include <functional>
#include <memory>

namespace cohort {

/// Threads that share the passes of a loop with the thread that starts it. One thread at a time starts loops.
class Workers {
 public:
  /// `threads` ≥ 1 in all, the caller of for_each() included.
  explicit Workers(std::int64_t threads);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers();

  [[nodiscard]] std::int64_t threads() const noexcept;
  /// Calls body(0) … body(count - 1), each once, in ascending order as threads come free; returns when all
  /// have ended. When some throw, those not yet begun are left out, and the exception of the lowest number is
  /// thrown here.
  void for_each(std::int64_t count, const std::function<void(std::int64_t)>& body);
  /// From any thread: a loop under way begins no further pass and for_each() throws Cancelled; so do all
  /// later loops.
  void cancel() noexcept;

  struct Cancelled {};

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort
