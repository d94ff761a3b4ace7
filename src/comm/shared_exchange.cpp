#include "comm/shared_exchange.h"

#include <algorithm>
#include <cstring>

#include "comm/combine.h"

namespace cohort::comm::mpi {
namespace {

/// Bytes [begin, end) of a tensor.
struct Range {
  std::size_t begin, end;
  [[nodiscard]] std::size_t bytes() const { return end - begin; }
};

std::byte* data_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

MPI_Request meet(Transport& transport) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(transport.comm, &request), "MPI_Ibarrier");
  return request;
}

/// The piece of a chunk that `rank` reduces, between whole elements.
Range piece_of(const Range& chunk, int rank, int size, std::size_t element) {
  const std::size_t elements = chunk.bytes() / element;
  const auto cut = [&](int r) {
    return chunk.begin + elements * static_cast<std::size_t>(r) / static_cast<std::size_t>(size) * element;
  };
  return {cut(rank), cut(rank + 1)};
}

/// Calls `add(chunk)` for each chunk of `bytes` in order, cut between whole elements.
template <class Add>
void for_each_chunk(std::size_t bytes, std::size_t chunk_bytes, std::size_t element, const Add& add) {
  const std::size_t step = std::max(element, chunk_bytes / element * element);
  for (std::size_t begin = 0; begin < bytes; begin += step) add(Range{begin, std::min(begin + step, bytes)});
}

/// The versions of all ranks: `mine` of this one, those of the others at `offset` in their halves.
std::vector<const std::byte*> versions(const Transport& transport, const SharedMemory& memory,
                                       const std::byte* mine, std::size_t offset) {
  std::vector<const std::byte*> all;
  for (int rank = 0; rank < transport.size; ++rank)
    all.push_back(rank == transport.rank ? mine : memory.half(rank) + offset);
  return all;
}

}  // namespace

std::vector<Step> shared_all_reduce(const at::Tensor& values, Reduce op, SharedMemory& memory) {
  std::vector<Step> steps;
  const std::size_t element = values.element_size();
  const auto piece = [=](const Transport& transport, const Range& chunk, int rank) {
    return piece_of(chunk, rank, transport.size, element);
  };
  for_each_chunk(values.nbytes(), memory.half_bytes(), element, [&](const Range& chunk) {
    steps.push_back([=, &memory](Transport& transport) {
      memory.next_chunk();
      for (int rank = 0; rank < transport.size; ++rank) {
        if (rank == transport.rank) continue;
        const Range part = piece(transport, chunk, rank);
        std::memcpy(memory.half(transport.rank) + (part.begin - chunk.begin), data_of(values) + part.begin,
                    part.bytes());
      }
      return meet(transport);
    });
    steps.push_back([=, &memory](Transport& transport) {
      const Range mine = piece(transport, chunk, transport.rank);
      std::byte* const total = data_of(values) + mine.begin;
      combine(versions(transport, memory, total, mine.begin - chunk.begin), total, mine.bytes() / element,
              values.scalar_type(), op);
      std::memcpy(memory.half(transport.rank) + (mine.begin - chunk.begin), total, mine.bytes());
      return meet(transport);
    });
    steps.push_back([=, &memory](Transport& transport) {
      for (int rank = 0; rank < transport.size; ++rank) {
        if (rank == transport.rank) continue;
        const Range part = piece(transport, chunk, rank);
        std::memcpy(data_of(values) + part.begin, memory.half(rank) + (part.begin - chunk.begin),
                    part.bytes());
      }
      return MPI_REQUEST_NULL;
    });
  });
  return steps;
}

std::vector<Step> shared_reduce_scatter(const at::Tensor& output, const at::Tensor& input, Reduce op,
                                        int size, SharedMemory& memory) {
  std::vector<Step> steps;
  const std::size_t block = output.nbytes(), element = output.element_size();
  const auto column = memory.half_bytes() / static_cast<std::size_t>(size);
  for_each_chunk(block, column, element, [&](const Range& chunk) {
    const auto place = [=](int rank) { return static_cast<std::size_t>(rank) * chunk.bytes(); };
    const auto source = [=](int rank) {
      return data_of(input) + static_cast<std::size_t>(rank) * block + chunk.begin;
    };
    steps.push_back([=, &memory](Transport& transport) {
      memory.next_chunk();
      for (int rank = 0; rank < size; ++rank) {
        if (rank != transport.rank)
          std::memcpy(memory.half(transport.rank) + place(rank), source(rank), chunk.bytes());
      }
      return meet(transport);
    });
    steps.push_back([=, &memory](Transport& transport) {
      combine(versions(transport, memory, source(transport.rank), place(transport.rank)),
              data_of(output) + chunk.begin, chunk.bytes() / element, output.scalar_type(), op);
      return MPI_REQUEST_NULL;
    });
  });
  return steps;
}

std::vector<Step> shared_all_gather(const at::Tensor& output, const at::Tensor& input, SharedMemory& memory) {
  std::vector<Step> steps;
  const std::size_t block = input.nbytes();
  for_each_chunk(block, memory.half_bytes(), input.element_size(), [&](const Range& chunk) {
    const auto target = [=](int rank) {
      return data_of(output) + static_cast<std::size_t>(rank) * block + chunk.begin;
    };
    steps.push_back([=, &memory](Transport& transport) {
      memory.next_chunk();
      const std::byte* const mine = data_of(input) + chunk.begin;
      std::memcpy(memory.half(transport.rank), mine, chunk.bytes());
      if (mine != target(transport.rank)) std::memcpy(target(transport.rank), mine, chunk.bytes());
      return meet(transport);
    });
    steps.push_back([=, &memory](Transport& transport) {
      for (int rank = 0; rank < transport.size; ++rank) {
        if (rank != transport.rank) std::memcpy(target(rank), memory.half(rank), chunk.bytes());
      }
      return MPI_REQUEST_NULL;
    });
  });
  return steps;
}

}  // namespace cohort::comm::mpi
