#include "comm/exchange.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "comm/mpi_values.h"

namespace cohort::comm::mpi {
namespace {

constexpr std::int64_t kSegmentBytes = 16 << 20;

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

// Everybody receives all versions of its piece.
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
    const auto layout = column(begin, end, block, size);
    steps.push_back([=](Transport& transport) { return exchange(transport, input, *layout); });
    steps.push_back([=](Transport& transport) {
      combine(transport, output, begin, static_cast<int>(end - begin), op);
      return MPI_REQUEST_NULL;
    });
  }
  return steps;
}

}  // namespace cohort::comm::mpi
