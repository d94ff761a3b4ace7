#include "comm/nccl_transport.h"

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cuda_runtime_api.h>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>
#include <nccl.h>

#include "cohort/core/error.h"

#include "comm/missing.h"
#include "comm/mpi_transport.h"
#include "comm/operation_queue.h"

namespace cohort::comm {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kWatchEvery = 100ms;
constexpr std::uint64_t kNcclId = 0x6E63636C;  // tells the history from that of the same ranks over MPI

constexpr auto kAskEvery = 50us;
constexpr auto kCloseWithin = 10s;

// Calls of a non-blocking communicator return at once. What has become of the last one: ncclInProgress when
// it is not done after `patience`.
ncclResult_t settled(ncclComm_t comm, ncclResult_t result, std::chrono::nanoseconds patience) noexcept {
  const auto until = Clock::now() + patience;
  while (result == ncclInProgress && Clock::now() < until) {
    if (ncclCommGetAsyncError(comm, &result) != ncclSuccess) return ncclSystemError;
    if (result == ncclInProgress) std::this_thread::sleep_for(kAskEvery);
  }
  return result;
}

struct NcclCommTraits {
  using type = ncclComm_t;
  static type null() noexcept { return nullptr; }
  // Ranks leave together; one that is alone, because others have failed, does not wait for them.
  static void close(type comm) noexcept {
    const bool fails = std::uncaught_exceptions() > 0;
    if (fails || settled(comm, ncclCommFinalize(comm), kCloseWithin) != ncclSuccess) {
      ncclCommAbort(comm);
    } else {
      ncclCommDestroy(comm);
    }
  }
};
using NcclComm = Handle<NcclCommTraits>;

RankError nccl_error(const std::string& what, const std::string& communicator) {
  return RankError({what, fmt::format("communicator '{}'", communicator),
                    "look for the first error of the other ranks; NCCL_DEBUG=INFO shows what NCCL does"});
}

void check_nccl(ncclResult_t result, const char* call, const std::string& communicator) {
  if (result != ncclSuccess) {
    throw nccl_error(fmt::format("{} failed: {}", call, ncclGetErrorString(result)), communicator);
  }
}

ncclDataType_t nccl_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kHalf:
      return ncclFloat16;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kInt:
      return ncclInt32;
    case at::kLong:
      return ncclInt64;
    case at::kByte:
      return ncclUint8;
    default:
      break;
  }
  fail_check("dtype", fmt::format("NCCL does not carry {} tensors", c10::toString(tensor.scalar_type())));
}

ncclRedOp_t nccl_op(Reduce op) {
  switch (op) {
    case Reduce::sum:
      return ncclSum;
    case Reduce::max:
      return ncclMax;
    case Reduce::min:
      return ncclMin;
  }
  return ncclSum;
}

std::size_t count(const at::Tensor& tensor) {
  return static_cast<std::size_t>(tensor.numel());
}

// NCCL's id of a new communicator: made by rank 0, carried by MPI.
ncclUniqueId agree_on_id(OperationQueue& control, const std::string& name) {
  ncclUniqueId id{};
  if (rank_in(control.comm()) == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId", name);
  const auto text = std::make_shared<std::string>(id.internal, sizeof(id.internal));
  control.run(mpi::broadcast_text(text, 0));
  control.run(mpi::barrier());  // ranks that do not come are named here, not by NCCL
  std::copy(text->begin(), text->end(), id.internal);
  return id;
}

NcclComm connect(OperationQueue& control, const std::string& name) {
  const ncclUniqueId id = agree_on_id(control, name);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  NcclComm comm;
  const ncclResult_t begun =
      ncclCommInitRankConfig(comm.out(), size_of(control.comm()), id, rank_in(control.comm()), &config);
  const ncclResult_t result = settled(comm.get(), begun, operation_timeout());
  if (result == ncclInProgress) {
    ncclCommAbort(comm.release());
    throw nccl_error(fmt::format("NCCL has not connected the ranks within {:.0f} s",
                                 std::chrono::duration<double>(operation_timeout()).count()),
                     name);
  }
  if (result != ncclSuccess && comm) ncclCommAbort(comm.release());
  check_nccl(result, "ncclCommInitRankConfig", name);
  return comm;
}

}  // namespace

/// Watches what is under way: a rank that does not come shows as an event that is never reached.
struct NcclTransport::Impl : std::enable_shared_from_this<Impl> {
  struct Pending {
    std::shared_ptr<at::cuda::CUDAEvent> done;
    std::int64_t sequence;
    Clock::time_point since;
  };

  Impl(OperationQueue& control, std::string communicator, c10::Device on)
      : name(std::move(communicator)),
        device(on),
        stream(c10::cuda::getStreamFromPool(true, on.index())),
        history(
            open_history(name, combined_id(control.history().id(), kNcclId), control.history().members())) {
    const c10::cuda::CUDAGuard guard(device);
    comm = connect(control, name);
    watchdog = std::jthread([this](const std::stop_token& stop) { watch(stop); });
  }

  // Ends NCCL's kernels, so that host and device do not wait for a lost rank.
  void give_up(std::exception_ptr why) {
    error = std::move(why);
    ncclCommAbort(comm.release());
  }

  void check_pending() {
    while (!pending.empty() && pending.front().done->query()) {
      history->end(pending.front().sequence);
      pending.pop_front();
    }
    if (!comm) return;
    ncclResult_t result = ncclSuccess;
    ncclCommGetAsyncError(comm.get(), &result);
    if (result != ncclSuccess) {
      return give_up(std::make_exception_ptr(
          nccl_error(fmt::format("NCCL failed: {}", ncclGetErrorString(result)), name)));
    }
    if (pending.empty()) return;
    const std::chrono::duration<double> waited = Clock::now() - pending.front().since;
    if (waited < operation_timeout()) return;
    give_up(explain_failure(*history, pending.front().sequence, waited));
  }

  void watch(const std::stop_token& stop) {
    const c10::cuda::CUDAGuard guard(device);
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, stop, kWatchEvery, [&] { return stop.stop_requested(); })) check_pending();
  }

  void check_usable() const {
    if (!comm) std::rethrow_exception(error);
  }

  std::string name;
  c10::Device device;
  c10::cuda::CUDAStream stream;
  HistoryHandle history;
  std::mutex mutex;  // guards the three below, and writing the history
  NcclComm comm;
  std::deque<Pending> pending;
  std::exception_ptr error;
  std::condition_variable_any wake;
  std::jthread watchdog;  // last: it uses all of the above

  template <class Call>
  Started launch(const char* operation, std::initializer_list<at::Tensor> tensors, Call&& call);
};

// `call` is enqueued on NCCL's stream behind everything on the current one. The work keeps the tensors until
// the current stream waits for it: from there on their memory may be reused in the order of that stream, so
// that the allocator need not be told of a second stream, whose events would delay the reuse.
template <class Call>
Started NcclTransport::Impl::launch(const char* operation, std::initializer_list<at::Tensor> tensors,
                                    Call&& call) {
  const c10::cuda::CUDAGuard guard(device);
  at::cuda::CUDAEvent ready;
  ready.record(c10::cuda::getCurrentCUDAStream(device.index()));
  ready.block(stream);
  const auto done = std::make_shared<at::cuda::CUDAEvent>();
  {
    const std::lock_guard lock(mutex);
    check_usable();
    const at::Tensor& last = *(tensors.end() - 1);  // equal in size on all ranks
    const std::int64_t sequence =
        history->submit(fmt::format("{} {}", operation, c10::toString(last.scalar_type())),
                        static_cast<std::int64_t>(last.nbytes()));
    history->begin(sequence);
    const ncclResult_t result = settled(comm.get(), call(comm.get(), stream.stream()), operation_timeout());
    if (result == ncclInProgress) {
      give_up(explain_failure(*history, sequence, operation_timeout()));
      check_usable();
    }
    check_nccl(result, operation, name);
    done->record(stream);
    pending.push_back({done, sequence, Clock::now()});
  }
  auto state = std::make_shared<Work::State>();
  state->wait_on_device = [self = shared_from_this(), done, kept = std::vector<at::Tensor>(tensors)] {
    const std::lock_guard lock(self->mutex);
    self->check_usable();
    done->block(c10::cuda::getCurrentCUDAStream(self->device.index()));
  };
  return Started(std::move(state));
}

NcclTransport::NcclTransport(OperationQueue& control, std::string name, c10::Device device)
    : impl_(std::make_shared<Impl>(control, std::move(name), device)) {}
NcclTransport::~NcclTransport() = default;

Started NcclTransport::all_reduce(const at::Tensor& values, Reduce op) {
  return impl_->launch("ncclAllReduce", {values}, [&](ncclComm_t comm, cudaStream_t stream) {
    return ncclAllReduce(values.data_ptr(), values.data_ptr(), count(values), nccl_type(values), nccl_op(op),
                         comm, stream);
  });
}

Started NcclTransport::all_gather(const at::Tensor& output, const at::Tensor& input) {
  return impl_->launch("ncclAllGather", {output, input}, [&](ncclComm_t comm, cudaStream_t stream) {
    return ncclAllGather(input.data_ptr(), output.data_ptr(), count(input), nccl_type(input), comm, stream);
  });
}

Started NcclTransport::reduce_scatter(const at::Tensor& output, const at::Tensor& input, Reduce op) {
  return impl_->launch("ncclReduceScatter", {output, input}, [&](ncclComm_t comm, cudaStream_t stream) {
    return ncclReduceScatter(input.data_ptr(), output.data_ptr(), count(output), nccl_type(input),
                             nccl_op(op), comm, stream);
  });
}

Started NcclTransport::all_to_all(const at::Tensor& output, const at::Tensor& input, int size) {
  return impl_->launch("ncclSend, ncclRecv", {output, input}, [&](ncclComm_t comm, cudaStream_t stream) {
    const std::size_t n = count(input) / static_cast<std::size_t>(size), bytes = n * input.element_size();
    ncclGroupStart();
    for (int rank = 0; rank < size; ++rank) {
      const std::size_t at = static_cast<std::size_t>(rank) * bytes;
      ncclSend(static_cast<const std::byte*>(input.data_ptr()) + at, n, nccl_type(input), rank, comm, stream);
      ncclRecv(static_cast<std::byte*>(output.data_ptr()) + at, n, nccl_type(output), rank, comm, stream);
    }
    return ncclGroupEnd();
  });
}

Started NcclTransport::broadcast(const at::Tensor& values, int root) {
  return impl_->launch("ncclBroadcast", {values}, [&](ncclComm_t comm, cudaStream_t stream) {
    return ncclBroadcast(values.data_ptr(), values.data_ptr(), count(values), nccl_type(values), root, comm,
                         stream);
  });
}

}  // namespace cohort::comm
