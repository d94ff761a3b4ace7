#include "comm/mpi_transport.h"

#include <climits>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"

#include "comm/exchange.h"
#include "comm/mpi_values.h"
#include "comm/shared_exchange.h"

namespace cohort::comm::mpi {
namespace {

// Measured in docs/decisions/0001-communication-thread.md.
constexpr std::int64_t kExchangeFromBytes = 1 << 20;  // smaller all-reduces are left to MPI
constexpr std::size_t kSharedFromBytes = 64 << 10;

// MPI knows no bf16. Open MPI 4.1 adds bytes with saturating AVX instructions (255 where 144 is due), in
// vector-sized parts of a message only.
bool mpi_reduces(const at::Tensor& values) {
  return static_cast<std::int64_t>(values.nbytes()) < kExchangeFromBytes &&
         values.scalar_type() != at::kByte && values.scalar_type() != at::kBFloat16;
}

/// What a reduction is called: of sums, which nearly all are, only the dtype is told.
std::string reduction(const char* name, Reduce op) {
  switch (op) {
    case Reduce::max:
      return fmt::format("{} max", name);
    case Reduce::min:
      return fmt::format("{} min", name);
    default:
      return name;
  }
}

Operation tensor_operation(const std::string& name, const at::Tensor& tensor, std::vector<Step> steps) {
  return {fmt::format("{} {}", name, find_dtype(tensor.scalar_type())->name),
          static_cast<std::int64_t>(tensor.nbytes()), std::move(steps)};
}

Step all_reduce_step(const at::Tensor& values, Reduce op) {
  return [=](Transport& transport) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallreduce(MPI_IN_PLACE, values.data_ptr(), count(values), mpi_type(values), mpi_op(op),
                             transport.comm, &request),
              "MPI_Iallreduce");
    return request;
  };
}

template <class T>
Operation all_reduce_value(std::shared_ptr<T> value, MPI_Datatype type, Reduce op, const char* name) {
  const auto step = [=](Transport& transport) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallreduce(MPI_IN_PLACE, value.get(), 1, type, mpi_op(op), transport.comm, &request),
              "MPI_Iallreduce");
    return request;
  };
  return {name, sizeof(T), {step}};
}

Step broadcast_step(std::function<void*()> data, std::function<int()> length, MPI_Datatype type, int root) {
  return [data = std::move(data), length = std::move(length), type, root](Transport& transport) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibcast(data(), length(), type, root, transport.comm, &request), "MPI_Ibcast");
    return request;
  };
}

}  // namespace

void check_tensor(const at::Tensor& tensor, const char* operation) {
  COHORT_CHECK(find_dtype(tensor.scalar_type()) != nullptr, "{} over MPI does not carry {} tensors",
               operation, c10::toString(tensor.scalar_type()));
  COHORT_CHECK(tensor.numel() <= INT_MAX, "{} of {} elements: MPI counts to 2^31-1", operation,
               tensor.numel());
}

bool uses_shared_memory(std::size_t bytes) noexcept {
  return bytes >= kSharedFromBytes;
}

Operation all_reduce(const at::Tensor& values, Reduce op, SharedMemory* memory) {
  const auto steps = [&] {
    if (memory != nullptr) return std::vector{shared_all_reduce(values, op, *memory)};
    return mpi_reduces(values) ? std::vector<Step>{all_reduce_step(values, op)}
                               : exchanged_all_reduce(values, op);
  };
  return tensor_operation(reduction("all_reduce", op), values, steps());
}

Operation all_gather(const at::Tensor& output, const at::Tensor& input, SharedMemory* memory) {
  if (memory != nullptr)
    return tensor_operation("all_gather", input, {shared_all_gather(output, input, *memory)});
  const auto step = [=](Transport& transport) {
    const std::size_t offset = input.nbytes() * static_cast<std::size_t>(transport.rank);
    const bool in_place = input.data_ptr() == static_cast<std::byte*>(output.data_ptr()) + offset;
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallgather(in_place ? MPI_IN_PLACE : input.data_ptr(), count(input), mpi_type(input),
                             output.data_ptr(), count(input), mpi_type(input), transport.comm, &request),
              "MPI_Iallgather");
    return request;
  };
  return tensor_operation("all_gather", input, {step});
}

Operation all_to_all(const at::Tensor& output, const at::Tensor& input) {
  const auto step = [=](Transport& transport) {
    const int block = count(input) / transport.size;
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ialltoall(input.data_ptr(), block, mpi_type(input), output.data_ptr(), block,
                            mpi_type(output), transport.comm, &request),
              "MPI_Ialltoall");
    return request;
  };
  return tensor_operation("all_to_all", input, {step});
}

Operation reduce_scatter(const at::Tensor& output, const at::Tensor& input, Reduce op, int size,
                         SharedMemory* memory) {
  return tensor_operation(reduction("reduce_scatter", op), input,
                          memory != nullptr
                              ? std::vector{shared_reduce_scatter(output, input, op, size, *memory)}
                              : exchanged_reduce_scatter(output, input, op, size));
}

Operation broadcast(const at::Tensor& values, int root, SharedMemory* memory) {
  return tensor_operation(
      fmt::format("broadcast from {}", root), values,
      {memory != nullptr ? shared_broadcast(values, root, *memory)
                         : broadcast_step([values] { return values.data_ptr(); },
                                          [values] { return count(values); }, mpi_type(values), root)});
}

Operation barrier() {
  const auto step = [](Transport& transport) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibarrier(transport.comm, &request), "MPI_Ibarrier");
    return request;
  };
  return {"barrier", 0, {step}};
}

Operation all_reduce(std::shared_ptr<std::int64_t> value, Reduce op) {
  return all_reduce_value(std::move(value), MPI_INT64_T, op, op == Reduce::sum ? "sum i64" : "max i64");
}

Operation all_reduce(std::shared_ptr<double> value, Reduce op) {
  return all_reduce_value(std::move(value), MPI_DOUBLE, op, op == Reduce::sum ? "sum f64" : "max f64");
}

Operation broadcast_text(const std::shared_ptr<std::string>& text, int root) {
  const auto length = std::make_shared<std::int64_t>(std::ssize(*text));
  COHORT_CHECK(*length <= INT_MAX, "broadcast_text of {} bytes", *length);
  const auto first = broadcast_step([length] { return length.get(); }, [] { return 1; }, MPI_INT64_T, root);
  const auto content = [text, length] {
    text->resize(static_cast<std::size_t>(*length));
    return static_cast<void*>(text->data());
  };
  const auto second = broadcast_step(
      content, [length] { return static_cast<int>(*length); }, MPI_CHAR, root);
  return {"broadcast_text", 0, {first, second}};
}

Operation gather(const std::shared_ptr<Gathered>& gathered) {
  const auto counts = [gathered](Transport& transport) {
    gathered->counts.resize(static_cast<std::size_t>(transport.size));
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallgather(&gathered->my_count, 1, MPI_INT, gathered->counts.data(), 1, MPI_INT,
                             transport.comm, &request),
              "MPI_Iallgather");
    return request;
  };
  const auto starts = std::make_shared<std::vector<int>>();
  const auto row = std::make_shared<MpiType>();
  const auto rows = [gathered, starts, row](Transport& transport) {
    const auto& received = gathered->counts;
    const auto total = std::accumulate(received.begin(), received.end(), std::int64_t{0});
    COHORT_CHECK(total <= INT_MAX, "gather of {} rows: MPI counts to 2^31-1", total);
    starts->resize(received.size());
    std::exclusive_scan(received.begin(), received.end(), starts->begin(), 0);
    check_mpi(MPI_Type_contiguous(static_cast<int>(gathered->row_bytes), MPI_BYTE, row->out()),
              "MPI_Type_contiguous");
    MPI_Datatype type = row->get();
    check_mpi(MPI_Type_commit(&type), "MPI_Type_commit");
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallgatherv(gathered->mine, gathered->my_count, type, gathered->allocate(total),
                              received.data(), starts->data(), type, transport.comm, &request),
              "MPI_Iallgatherv");
    return request;
  };
  return {"gather", 0, {counts, rows}};
}

}  // namespace cohort::comm::mpi
