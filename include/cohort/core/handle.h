#pragma once
#include <utility>

namespace cohort {

/// Owns one C handle. Traits has `using type`, `static type null() noexcept`, `static void close(type)
/// noexcept`. Move-only. Moving leaves the source null; close runs exactly once; it may log, it never throws.
template <class Traits>
class Handle {
 public:
  using type = typename Traits::type;

  Handle() noexcept = default;
  explicit Handle(type value) noexcept : value_(value) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  Handle(Handle&& other) noexcept : value_(other.release()) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~Handle() { reset(); }

  [[nodiscard]] type get() const noexcept { return value_; }
  explicit operator bool() const noexcept { return value_ != Traits::null(); }
  /// For C functions that return through a pointer: MPI_Comm_dup(parent, comm.out()).
  type* out() noexcept { return reset(), &value_; }
  type release() noexcept { return std::exchange(value_, Traits::null()); }
  void reset(type value = Traits::null()) noexcept {
    if (auto old = std::exchange(value_, value); old != Traits::null()) Traits::close(old);
  }

 private:
  type value_ = Traits::null();
};

}  // namespace cohort
