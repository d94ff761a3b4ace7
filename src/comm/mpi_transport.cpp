#include "comm/mpi_transport.h"

#include <algorithm>
#include <array>
#include <climits>
#include <numeric>

#include <fmt/format.h>

#include "cohort/core/error.h"

namespace cohort::comm::mpi {
namespace {

// Measured in docs/decisions/0001-communication-thread.md.
constexpr std::int64_t kExchangeFromBytes = 4 << 20;  // smaller all-reduces are left to MPI
constexpr std::int64_t kSegmentBytes = 16 << 20;      // bounds the scratch memory

// MPI knows no bf16. Open MPI 4.1 adds bytes with saturating AVX instructions (255 where 144 is due), in
// vector-sized parts of a message only.
bool mpi_reduces(const at::Tensor& values) {
  return static_cast<std::int64_t>(values.nbytes()) < kExchangeFromBytes &&
         values.scalar_type() != at::kByte && values.scalar_type() != at::kBFloat16;
}

MPI_Op mpi_op(Reduce op) {
  switch (op) {
    case Reduce::sum:
      return MPI_SUM;
    case Reduce::max:
      return MPI_MAX;
    case Reduce::min:
      return MPI_MIN;
  }
  return MPI_OP_NULL;
}

struct Dtype {
  at::ScalarType torch;
  MPI_Datatype mpi;
  const char* name;
};

const Dtype* find_dtype(at::ScalarType type) {
  static const Dtype known[] = {{at::kFloat, MPI_FLOAT, "f32"},        {at::kDouble, MPI_DOUBLE, "f64"},
                                {at::kBFloat16, MPI_UINT16_T, "bf16"}, {at::kInt, MPI_INT32_T, "i32"},
                                {at::kLong, MPI_INT64_T, "i64"},       {at::kByte, MPI_UINT8_T, "u8"}};
  const auto* found =
      std::find_if(std::begin(known), std::end(known), [type](const Dtype& d) { return d.torch == type; });
  return found == std::end(known) ? nullptr : found;
}

MPI_Datatype mpi_type(const at::Tensor& tensor) {
  return find_dtype(tensor.scalar_type())->mpi;
}
int count(const at::Tensor& tensor) {
  return static_cast<int>(tensor.numel());
}

Operation tensor_operation(const char* name, const at::Tensor& tensor, std::vector<Step> steps) {
  return {fmt::format("{} {}", name, find_dtype(tensor.scalar_type())->name),
          static_cast<std::int64_t>(tensor.nbytes()), std::move(steps)};
}

// Where the pieces of an exchange lie, in elements; `mine` counts this rank's own piece.
struct Layout {
  std::vector<int> counts, starts;            // of the ranks' pieces in the tensor
  std::vector<int> mine_counts, mine_starts;  // of everybody's version of my piece in the scratch memory
};

// The elements [begin, end) of a tensor, cut into one piece a rank.
std::shared_ptr<Layout> cut(std::int64_t begin, std::int64_t end, int rank, int size) {
  auto layout = std::make_shared<Layout>();
  for (std::int64_t r = 0; r < size; ++r) {
    const auto start = begin + (end - begin) * r / size;
    layout->starts.push_back(static_cast<int>(start));
    layout->counts.push_back(static_cast<int>(begin + (end - begin) * (r + 1) / size - start));
  }
  const int mine = layout->counts[static_cast<std::size_t>(rank)];
  for (int r = 0; r < size; ++r) layout->mine_starts.push_back(r * mine);
  layout->mine_counts.assign(static_cast<std::size_t>(size), mine);
  return layout;
}

// Rows [begin, end) of each rank's block of `block` elements.
std::shared_ptr<Layout> column(std::int64_t begin, std::int64_t end, std::int64_t block, int size) {
  auto layout = std::make_shared<Layout>();
  const int width = static_cast<int>(end - begin);
  for (int r = 0; r < size; ++r) {
    layout->starts.push_back(static_cast<int>(r * block + begin));
    layout->mine_starts.push_back(r * width);
  }
  layout->counts.assign(static_cast<std::size_t>(size), width);
  layout->mine_counts = layout->counts;
  return layout;
}

// Everybody receives all versions of its piece: the transfer of a reduce-scatter without MPI's slow algorithm
// for it.
MPI_Request exchange(Transport& transport, const at::Tensor& tensor, const Layout& layout) {
  const auto bytes =
      static_cast<std::size_t>(layout.mine_counts[0]) * layout.mine_counts.size() * tensor.element_size();
  if (transport.scratch.size() < bytes) transport.scratch.resize(bytes);
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ialltoallv(tensor.data_ptr(), layout.counts.data(), layout.starts.data(), mpi_type(tensor),
                           transport.scratch.data(), layout.mine_counts.data(), layout.mine_starts.data(),
                           mpi_type(tensor), transport.comm, &request),
            "MPI_Ialltoallv");
  return request;
}

template <class T>
void accumulate(T* total, const T* values, std::size_t count, Reduce op) {
  switch (op) {
    case Reduce::sum:
      for (std::size_t i = 0; i < count; ++i) total[i] = static_cast<T>(total[i] + values[i]);
      return;
    case Reduce::max:
      for (std::size_t i = 0; i < count; ++i) total[i] = std::max(total[i], values[i]);
      return;
    case Reduce::min:
      for (std::size_t i = 0; i < count; ++i) total[i] = std::min(total[i], values[i]);
      return;
  }
}

// Reduces the versions in the scratch memory in the order of the ranks.
template <class T>
void combine(const Transport& transport, void* target, std::size_t count, Reduce op) {
  const T* versions = reinterpret_cast<const T*>(transport.scratch.data());
  T* total = static_cast<T*>(target);
  std::copy_n(versions, count, total);
  for (int r = 1; r < transport.size; ++r)
    accumulate(total, versions + static_cast<std::size_t>(r) * count, count, op);
}

// Partial results stay in f32, block by block in the cache, and are rounded once.
void combine_bf16(const Transport& transport, void* target, std::size_t count, Reduce op) {
  constexpr std::size_t kBlock = 2048;
  std::array<float, kBlock> total, version;
  const auto* versions = reinterpret_cast<const c10::BFloat16*>(transport.scratch.data());
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t n = std::min(kBlock, count - begin);
    std::copy_n(versions + begin, n, total.data());
    for (int r = 1; r < transport.size; ++r) {
      std::copy_n(versions + static_cast<std::size_t>(r) * count + begin, n, version.data());
      accumulate(total.data(), version.data(), n, op);
    }
    std::copy_n(total.data(), n, static_cast<c10::BFloat16*>(target) + begin);
  }
}

void combine(const Transport& transport, const at::Tensor& tensor, std::int64_t at_element, int count,
             Reduce op) {
  void* target = static_cast<std::byte*>(tensor.data_ptr()) + at_element * tensor.element_size();
  const auto n = static_cast<std::size_t>(count);
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return combine<float>(transport, target, n, op);
    case at::kDouble:
      return combine<double>(transport, target, n, op);
    case at::kBFloat16:
      return combine_bf16(transport, target, n, op);
    case at::kInt:
      return combine<std::int32_t>(transport, target, n, op);
    case at::kLong:
      return combine<std::int64_t>(transport, target, n, op);
    default:
      return combine<std::uint8_t>(transport, target, n, op);
  }
}

// exchange, combine my piece, gather the pieces.
void append_segment(std::vector<Step>& steps, const at::Tensor& values, std::int64_t begin, std::int64_t end,
                    Reduce op) {
  const auto layout = std::make_shared<std::shared_ptr<Layout>>();  // known once the rank is
  steps.push_back([=](Transport& transport) {
    *layout = cut(begin, end, transport.rank, transport.size);
    return exchange(transport, values, **layout);
  });
  steps.push_back([=](Transport& transport) {
    const Layout& pieces = **layout;
    const auto mine = static_cast<std::size_t>(transport.rank);
    combine(transport, values, pieces.starts[mine], pieces.counts[mine], op);
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values.data_ptr(), pieces.counts.data(),
                              pieces.starts.data(), mpi_type(values), transport.comm, &request),
              "MPI_Iallgatherv");
    return request;
  });
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
  return [=](Transport& transport) {
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

Operation all_reduce(const at::Tensor& values, Reduce op) {
  std::vector<Step> steps;
  if (mpi_reduces(values)) {
    steps.push_back(all_reduce_step(values, op));
  } else {
    const std::int64_t segment = kSegmentBytes / static_cast<std::int64_t>(values.element_size());
    for (std::int64_t begin = 0; begin < values.numel(); begin += segment) {
      append_segment(steps, values, begin, std::min(begin + segment, values.numel()), op);
    }
  }
  return tensor_operation("all_reduce", values, std::move(steps));
}

Operation all_gather(const at::Tensor& output, const at::Tensor& input) {
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

Operation reduce_scatter(const at::Tensor& output, const at::Tensor& input, Reduce op, int size) {
  std::vector<Step> steps;
  const std::int64_t block = output.numel();
  const std::int64_t segment =
      std::max<std::int64_t>(1, kSegmentBytes / static_cast<std::int64_t>(input.element_size()) / size);
  for (std::int64_t begin = 0; begin < block; begin += segment) {
    const auto end = std::min(begin + segment, block);
    const auto layout = column(begin, end, block, size);
    steps.push_back([=](Transport& transport) { return exchange(transport, input, *layout); });
    steps.push_back([=](Transport& transport) {
      combine(transport, output, begin, static_cast<int>(end - begin), op);
      return MPI_REQUEST_NULL;
    });
  }
  return tensor_operation("reduce_scatter", input, std::move(steps));
}

Operation broadcast(const at::Tensor& values, int root) {
  return tensor_operation("broadcast", values,
                          {broadcast_step([values] { return values.data_ptr(); },
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

Operation broadcast_text(std::shared_ptr<std::string> text, int root) {
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

Operation gather(std::shared_ptr<Gathered> gathered) {
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
