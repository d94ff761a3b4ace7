#include "comm/exchange.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "comm/combine.h"
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

// `count` elements from `at_element` on hold this rank's version and become that of all ranks.
void combine_received(Transport& transport, const at::Tensor& tensor, std::int64_t at_element, int count,
                      Reduce op) {
  auto* const total = static_cast<std::byte*>(bytes_of(tensor, at_element));
  const std::size_t bytes = static_cast<std::size_t>(count) * tensor.element_size();
  std::vector<const std::byte*> versions;
  std::size_t received = 0;
  for (int rank = 0; rank < transport.size; ++rank)
    versions.push_back(rank == transport.rank ? total : transport.scratch.data() + bytes * received++);
  combine(versions, total, static_cast<std::size_t>(count), tensor.scalar_type(), op);
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
    combine_received(transport, values, pieces.starts[mine], pieces.counts[mine], op);
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
      combine_received(transport, output, begin, static_cast<int>(end - begin), op);
      return MPI_REQUEST_NULL;
    });
  }
  return steps;
}

}  // namespace cohort::comm::mpi
