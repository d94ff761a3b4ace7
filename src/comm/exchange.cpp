#include "comm/exchange.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "comm/mpi_values.h"

namespace cohort::comm::mpi {
namespace {

constexpr std::int64_t kSegmentBytes = 16 << 20;

// Where the pieces of an exchange lie, in elements. MPI reads it until the exchange is complete.
struct Layout {
  std::vector<int> counts, starts;            // of the ranks' pieces in the tensor
  std::vector<int> sent;                      // counts without my own piece, which stays where it is
  std::vector<int> mine_counts, mine_starts;  // of the others' versions of my piece in the scratch memory
};

void place_versions(Layout& layout, int rank) {
  const int mine = layout.counts[static_cast<std::size_t>(rank)];
  layout.sent = layout.counts;
  layout.sent[static_cast<std::size_t>(rank)] = 0;
  int start = 0;
  for (int r = 0; r < static_cast<int>(layout.counts.size()); ++r) {
    layout.mine_starts.push_back(start);
    layout.mine_counts.push_back(r == rank ? 0 : mine);
    start += layout.mine_counts.back();
  }
}

// The elements [begin, end) of a tensor, cut into one piece a rank.
Layout cut(std::int64_t begin, std::int64_t end, int rank, int size) {
  Layout layout;
  for (std::int64_t r = 0; r < size; ++r) {
    const auto start = begin + (end - begin) * r / size;
    layout.starts.push_back(static_cast<int>(start));
    layout.counts.push_back(static_cast<int>(begin + (end - begin) * (r + 1) / size - start));
  }
  place_versions(layout, rank);
  return layout;
}

// Elements [begin, end) of each rank's block of `block` elements.
Layout column(std::int64_t begin, std::int64_t end, std::int64_t block, int rank, int size) {
  Layout layout;
  for (int r = 0; r < size; ++r) layout.starts.push_back(static_cast<int>(r * block + begin));
  layout.counts.assign(static_cast<std::size_t>(size), static_cast<int>(end - begin));
  place_versions(layout, rank);
  return layout;
}

// Everybody receives the others' versions of its piece.
MPI_Request exchange(Transport& transport, const at::Tensor& tensor, const Layout& layout) {
  const auto bytes =
      static_cast<std::size_t>(layout.mine_starts.back() + layout.mine_counts.back()) * tensor.element_size();
  if (transport.scratch.size() < bytes) transport.scratch.resize(bytes);
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ialltoallv(tensor.data_ptr(), layout.sent.data(), layout.starts.data(), mpi_type(tensor),
                           transport.scratch.data(), layout.mine_counts.data(), layout.mine_starts.data(),
                           mpi_type(tensor), transport.comm, &request),
            "MPI_Ialltoallv");
  return request;
}

void* bytes_of(const at::Tensor& tensor, std::int64_t first_element) {
  return static_cast<std::byte*>(tensor.data_ptr()) + first_element * tensor.element_size();
}

// In blocks of a fixed size, which is what GCC makes vector code of at -O2.
template <class T, class Combine>
void accumulate(T* __restrict total, const T* __restrict values, std::size_t count, Combine combine) {
  constexpr std::size_t kBlock = 16;
  std::size_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    for (std::size_t j = i; j < i + kBlock; ++j) total[j] = combine(total[j], values[j]);
  }
  for (; i < count; ++i) total[i] = combine(total[i], values[i]);
}

template <class T>
void accumulate(T* total, const T* values, std::size_t count, Reduce op) {
  switch (op) {
    case Reduce::sum:
      return accumulate(total, values, count, [](T a, T b) { return static_cast<T>(a + b); });
    case Reduce::max:
      return accumulate(total, values, count, [](T a, T b) { return std::max(a, b); });
    case Reduce::min:
      return accumulate(total, values, count, [](T a, T b) { return std::min(a, b); });
  }
}

// `total` holds this rank's version and becomes that of all ranks, combined in the order of the ranks: those
// before this one among themselves, then this one, then those after it.
template <class T>
void combine(Transport& transport, void* total, std::size_t count, Reduce op) {
  T* const versions = reinterpret_cast<T*>(transport.scratch.data());
  const auto others = static_cast<std::size_t>(transport.size) - 1;
  const auto before = static_cast<std::size_t>(transport.rank);
  for (std::size_t r = 1; r < before; ++r) accumulate(versions, versions + r * count, count, op);
  T* const target = static_cast<T*>(total);
  if (before > 0) accumulate(target, versions, count, op);
  for (std::size_t r = before; r < others; ++r) accumulate(target, versions + r * count, count, op);
}

// Partial results stay in f32, block by block in the cache, and are rounded once.
void combine_bf16(const Transport& transport, void* total, std::size_t count, Reduce op) {
  constexpr std::size_t kBlock = 2048;
  std::array<float, kBlock> sum, version;
  auto* const mine = static_cast<c10::BFloat16*>(total);
  const auto* const others = reinterpret_cast<const c10::BFloat16*>(transport.scratch.data());
  const auto of_rank = [&](int rank) {
    if (rank == transport.rank) return static_cast<const c10::BFloat16*>(mine);
    return others + static_cast<std::size_t>(rank < transport.rank ? rank : rank - 1) * count;
  };
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t n = std::min(kBlock, count - begin);
    std::copy_n(of_rank(0) + begin, n, sum.data());
    for (int rank = 1; rank < transport.size; ++rank) {
      std::copy_n(of_rank(rank) + begin, n, version.data());
      accumulate(sum.data(), version.data(), n, op);
    }
    std::copy_n(sum.data(), n, mine + begin);
  }
}

void combine(Transport& transport, const at::Tensor& tensor, std::int64_t at_element, int count, Reduce op) {
  void* total = bytes_of(tensor, at_element);
  const auto n = static_cast<std::size_t>(count);
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return combine<float>(transport, total, n, op);
    case at::kDouble:
      return combine<double>(transport, total, n, op);
    case at::kBFloat16:
      return combine_bf16(transport, total, n, op);
    case at::kInt:
      return combine<std::int32_t>(transport, total, n, op);
    case at::kLong:
      return combine<std::int64_t>(transport, total, n, op);
    default:
      return combine<std::uint8_t>(transport, total, n, op);
  }
}

// exchange, combine my piece, gather the pieces.
void append_segment(std::vector<Step>& steps, const at::Tensor& values, std::int64_t begin, std::int64_t end,
                    Reduce op) {
  const auto layout = std::make_shared<Layout>();  // known once the rank is
  steps.push_back([=](Transport& transport) {
    *layout = cut(begin, end, transport.rank, transport.size);
    return exchange(transport, values, *layout);
  });
  steps.push_back([=](Transport& transport) {
    const Layout& pieces = *layout;
    const auto mine = static_cast<std::size_t>(transport.rank);
    combine(transport, values, pieces.starts[mine], pieces.counts[mine], op);
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values.data_ptr(), pieces.counts.data(),
                              pieces.starts.data(), mpi_type(values), transport.comm, &request),
              "MPI_Iallgatherv");
    return request;
  });
}

}  // namespace

std::vector<Step> exchanged_all_reduce(const at::Tensor& values, Reduce op) {
  std::vector<Step> steps;
  const std::int64_t segment = kSegmentBytes / static_cast<std::int64_t>(values.element_size());
  for (std::int64_t begin = 0; begin < values.numel(); begin += segment) {
    append_segment(steps, values, begin, std::min(begin + segment, values.numel()), op);
  }
  return steps;
}

std::vector<Step> exchanged_reduce_scatter(const at::Tensor& output, const at::Tensor& input, Reduce op,
                                           int size) {
  std::vector<Step> steps;
  const std::int64_t block = output.numel();
  const std::int64_t segment =
      std::max<std::int64_t>(1, kSegmentBytes / static_cast<std::int64_t>(input.element_size()) / size);
  for (std::int64_t begin = 0; begin < block; begin += segment) {
    const auto end = std::min(begin + segment, block);
    const auto layout = std::make_shared<Layout>();
    steps.push_back([=](Transport& transport) {
      *layout = column(begin, end, block, transport.rank, transport.size);
      return exchange(transport, input, *layout);
    });
    steps.push_back([=](Transport& transport) {
      const auto mine = transport.rank * block;
      std::memmove(bytes_of(output, begin), bytes_of(input, mine + begin),
                   static_cast<std::size_t>(end - begin) * input.element_size());
      combine(transport, output, begin, static_cast<int>(end - begin), op);
      return MPI_REQUEST_NULL;
    });
  }
  return steps;
}

}  // namespace cohort::comm::mpi
