#include "cohort/comm/communicator.h"

#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/log.h"

#include "comm/communicator_impl.h"
#include "comm/mpi_transport.h"

namespace cohort::comm {
namespace {

void check_contiguous(const at::Tensor& tensor, const char* operation) {
  COHORT_CHECK(tensor.defined() && tensor.is_contiguous(), "{} needs a contiguous tensor", operation);
}

void check_pair(const at::Tensor& whole, const at::Tensor& part, int size, const char* operation) {
  check_contiguous(whole, operation);
  check_contiguous(part, operation);
  COHORT_CHECK(whole.numel() == part.numel() * size, "{}: {} elements are not {} times {}", operation,
               whole.numel(), size, part.numel());
  COHORT_CHECK(whole.scalar_type() == part.scalar_type() && whole.device() == part.device(),
               "{}: input and output differ in dtype or device", operation);
}

}  // namespace

Work::Work(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
Work::Work(Work&&) noexcept = default;

Work& Work::operator=(Work&& other) noexcept {
  Work old(std::move(*this));
  state_ = std::move(other.state_);
  return *this;
}

Work::~Work() {
  // While an exception unwinds this rank, others may never join the operation: it stays with its queue.
  if (!state_ || std::uncaught_exceptions() > 0) return;
  try {
    wait();
  } catch (const std::exception& error) {
    log_error(error.what());
  }
}

void Work::wait() {
  if (!state_) return;
  const std::shared_ptr<State> state =
      std::move(state_);  // an error is thrown once, not logged again by the destructor
  if (state->wait_on_device) {
    state->wait_on_device();
  } else if (!state->done.load(std::memory_order_acquire)) {
    state->queue->wait_for(*state);
  }
  if (state->error) std::rethrow_exception(state->error);
}

Started::operator Work() && {
  const std::shared_ptr<Work::State>& state = work_.state_;
  if (state && state->queue != nullptr) state->queue->carry_on();
  return std::move(work_);
}

Communicator::Impl::Impl(MpiComm comm, std::string name_of_group, std::uint64_t id_of_group)
    : name(std::move(name_of_group)), rank(rank_in(comm.get())), size(size_of(comm.get())), id(id_of_group) {
  if (size == 1) {
    alone = std::move(comm);
    return;
  }
  queue = std::make_unique<OperationQueue>(std::move(comm), name, id);
}

std::uint64_t Communicator::Impl::next_child(int color) noexcept {
  return combined_id(combined_id(id, ++children), static_cast<std::uint64_t>(color));
}

NcclTransport& Communicator::Impl::on(c10::Device device) {
  if (!nccl) nccl = std::make_unique<NcclTransport>(*queue, name, device);
  return *nccl;
}

SharedMemory* Communicator::Impl::memory_for(std::size_t bytes) {
  if (!mpi::uses_shared_memory(bytes)) return nullptr;
  if (!shared) shared = SharedMemory::open(*queue, rank, size);
  return shared->get();
}

Communicator::Communicator(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;
Communicator::~Communicator() = default;

int Communicator::rank() const noexcept {
  return impl_->rank;
}
int Communicator::size() const noexcept {
  return impl_->size;
}
const std::string& Communicator::name() const noexcept {
  return impl_->name;
}
int Communicator::mpi_handle() const noexcept {
  return static_cast<int>(MPI_Comm_c2f(impl_->comm()));
}

// MPI_Comm_split and MPI_Comm_dup block without a timeout and must not overtake queued operations: the
// barrier sees to both.
Communicator Communicator::split(int color, std::string name) const {
  COHORT_CHECK(impl_->observer == nullptr, "'{}': the colors of ranks that are not there are not known",
               impl_->name);
  if (impl_->queue) impl_->queue->run(mpi::barrier());
  return Communicator(
      std::make_unique<Impl>(split_comm(impl_->comm(), color), std::move(name), impl_->next_child(color)));
}

Communicator Communicator::split(const std::function<int(int rank)>& color_of, std::string name) const {
  if (impl_->observer == nullptr) return split(color_of(rank()), std::move(name));
  int same = 0;
  for (int other = 0; other < size(); ++other) same += color_of(other) == color_of(rank()) ? 1 : 0;
  return Communicator(std::make_unique<Impl>(same, std::move(name), *impl_->observer));
}

Communicator Communicator::duplicate(std::string name) const {
  if (impl_->observer != nullptr) return pretend_ranks(size(), std::move(name), *impl_->observer);
  if (impl_->queue) impl_->queue->run(mpi::barrier());
  return Communicator(
      std::make_unique<Impl>(duplicate_comm(impl_->comm()), std::move(name), impl_->next_child(0)));
}

Started Communicator::all_reduce(at::Tensor values, Reduce op) {
  check_contiguous(values, "all_reduce");
  if (impl_->size == 1) return Started(nullptr);
  if (impl_->observer != nullptr) return Started(impl_->pretend("all_reduce", values, values));
  if (values.is_cuda()) return impl_->on(values.device()).all_reduce(values, op);
  mpi::check_tensor(values, "all_reduce");
  return Started(impl_->queue->enqueue(mpi::all_reduce(values, op, impl_->memory_for(values.nbytes()))));
}

Started Communicator::all_gather(at::Tensor output, const at::Tensor& input) {
  check_pair(output, input, impl_->size, "all_gather");
  if (impl_->size == 1) {
    if (output.const_data_ptr() != input.const_data_ptr()) output.view_as(input).copy_(input);
    return Started(nullptr);
  }
  if (impl_->observer != nullptr) return Started(impl_->pretend("all_gather", input, output));
  if (input.is_cuda()) return impl_->on(input.device()).all_gather(output, input);
  mpi::check_tensor(output, "all_gather");
  return Started(impl_->queue->enqueue(mpi::all_gather(output, input, impl_->memory_for(output.nbytes()))));
}

Started Communicator::reduce_scatter(at::Tensor output, const at::Tensor& input, Reduce op) {
  check_pair(input, output, impl_->size, "reduce_scatter");
  if (impl_->size == 1) return output.copy_(input.view_as(output)), Started(nullptr);
  if (impl_->observer != nullptr) return Started(impl_->pretend("reduce_scatter", input, input));
  if (input.is_cuda()) return impl_->on(input.device()).reduce_scatter(output, input, op);
  mpi::check_tensor(input, "reduce_scatter");
  return Started(impl_->queue->enqueue(
      mpi::reduce_scatter(output, input, op, impl_->size, impl_->memory_for(input.nbytes()))));
}

Started Communicator::all_to_all(at::Tensor output, const at::Tensor& input) {
  check_pair(output, input, 1, "all_to_all");
  COHORT_CHECK(output.numel() % impl_->size == 0, "all_to_all: {} elements over {} ranks", output.numel(),
               impl_->size);
  if (impl_->size == 1) return output.view_as(input).copy_(input), Started(nullptr);
  if (impl_->observer != nullptr) return Started(impl_->pretend("all_to_all", input, output));
  if (input.is_cuda()) return impl_->on(input.device()).all_to_all(output, input, impl_->size);
  mpi::check_tensor(input, "all_to_all");
  return Started(impl_->queue->enqueue(mpi::all_to_all(output, input)));
}

Started Communicator::broadcast(at::Tensor values, int root) {
  check_contiguous(values, "broadcast");
  COHORT_CHECK(root >= 0 && root < impl_->size, "broadcast from rank {} of {}", root, impl_->size);
  if (impl_->size == 1) return Started(nullptr);
  if (impl_->observer != nullptr) return Started(impl_->pretend("broadcast from 0", values, values));
  if (values.is_cuda()) return impl_->on(values.device()).broadcast(values, root);
  mpi::check_tensor(values, "broadcast");
  return Started(impl_->queue->enqueue(mpi::broadcast(values, root, impl_->memory_for(values.nbytes()))));
}

}  // namespace cohort::comm
