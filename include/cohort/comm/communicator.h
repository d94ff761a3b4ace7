#pragma once
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cohort::comm {

enum class Reduce { sum, max, min };

/// A collective under way. Keeps the tensors that were passed in alive until it is done. Move-only.
class [[nodiscard]] Work {
 public:
  struct State;
  explicit Work(std::shared_ptr<State> state) noexcept;
  Work(Work&&) noexcept;
  Work& operator=(Work&&) noexcept;
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  /// Waits, if nobody did; an error is then logged, not thrown. Does not wait while an exception unwinds.
  ~Work();
  /// CPU: blocks until the result is there. CUDA: the current stream waits, the host does not.
  /// Throws RankError when a rank is dead, stopped or later than the timeout of the session. May be called
  /// once or more.
  void wait();

 private:
  friend class Started;
  std::shared_ptr<State> state_;
};

/// A collective just called. Either waited for at once, which carries it out in this thread, several
/// microseconds faster than another thread would; or kept as a Work, which overlaps it with what follows.
class [[nodiscard]] Started {
 public:
  explicit Started(std::shared_ptr<Work::State> state) noexcept : work_(std::move(state)) {}
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;
  /// As Work::wait().
  void wait() && { work_.wait(); }
  /// From here on the communication thread carries it on.
  operator Work() &&;  // NOLINT(google-explicit-constructor): to be kept in any way

 private:
  Work work_;
};

/// A group of ranks. CPU tensors travel over MPI, CUDA tensors over NCCL on a stream of the communicator's
/// own. Operations are carried out in the order of the calls, by a communication thread while nobody waits
/// for them, so that they overlap with computation. Move-only; one thread at a time calls it. "Collective"
/// means: every rank of the group must call it, in the same order. CPU dtypes: f32, f64, bf16, i32, i64, u8;
/// CUDA dtypes in addition f16. Sums of bf16 are formed in f32 and rounded once. Tensors are contiguous.
class Communicator {
 public:
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  ~Communicator();  ///< not collective; waits for operations under way

  [[nodiscard]] int rank() const noexcept;  ///< 0 … size()-1
  [[nodiscard]] int size() const noexcept;
  [[nodiscard]] const std::string& name() const noexcept;  ///< "world", "context" …, used in messages

  /// Collective. Ranks with the same color form a new group, ordered by their rank here.
  [[nodiscard]] Communicator split(int color, std::string name) const;
  /// Collective. The same where a rank's color follows from its number here.
  [[nodiscard]] Communicator split(const std::function<int(int rank)>& color_of, std::string name) const;
  /// Collective. The same ranks, another order of operations: for use from another thread or beside this one.
  [[nodiscard]] Communicator duplicate(std::string name) const;

  /// Collective. `values` [n…] is replaced by the reduction over all ranks; identical bits on all ranks.
  Started all_reduce(at::Tensor values, Reduce op = Reduce::sum);
  /// Collective. `output` [size()*n] receives rank r's `input` [n] at r*n. Same dtype and device. `input` may
  /// be this rank's part of `output` itself: then nothing is copied here.
  Started all_gather(at::Tensor output, const at::Tensor& input);
  /// Collective. `output` [n] receives the reduction of everybody's `input` [size()*n] at rank()*n.
  Started reduce_scatter(at::Tensor output, const at::Tensor& input, Reduce op = Reduce::sum);
  /// Collective. `output` [size()*n] receives at r*n what rank r has in its `input` [size()*n] at rank()*n.
  Started all_to_all(at::Tensor output, const at::Tensor& input);
  /// Collective. Overwrites `values` with those of `root`.
  Started broadcast(at::Tensor values, int root = 0);
  void barrier();  ///< collective, host-side

  // Control plane: small host values. All collective, all blocking.
  std::int64_t sum(std::int64_t value);
  std::int64_t max(std::int64_t value);
  double sum(double value);
  double max(double value);
  /// Text of `root` on every rank.
  std::string broadcast_text(std::string text, int root = 0);
  /// Text of every rank, by rank, on every rank.
  std::vector<std::string> gather_texts(const std::string& text);
  /// CPU tensors that differ between ranks in their first dimension only, concatenated by rank, on every
  /// rank.
  at::Tensor gather_rows(const at::Tensor& rows);

  /// Collective. If any rank passes an exception, every rank throws the first failing rank's error: the same
  /// text and the same exit code everywhere; what() says which rank. Null: this rank has none.
  void agree(std::exception_ptr local);

  /// The MPI_Comm behind it as an integer (MPI_Comm_c2f), for libraries such as HDF5. Valid as long as this
  /// lives.
  [[nodiscard]] int mpi_handle() const noexcept;

 private:
  friend class Session;
  friend Communicator pretend_ranks(int, std::string, class CollectiveObserver&);
  struct Impl;
  explicit Communicator(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Collective. Runs `body` on this rank, then agrees: all ranks return, or all throw. `body` itself is not
/// collective.
template <class Body>
void together(Communicator& ranks, Body&& body) {
  std::exception_ptr error;
  try {
    body();
  } catch (...) {
    error = std::current_exception();
  }
  ranks.agree(error);
}

}  // namespace cohort::comm
