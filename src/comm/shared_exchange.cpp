#include "comm/shared_exchange.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <vector>

#include "comm/combine.h"

namespace cohort::comm::mpi {
namespace {

using Stage = SharedMemory::Stage;

/// Bytes [begin, end) of a tensor.
struct Range {
  std::size_t begin, end;
  [[nodiscard]] std::size_t bytes() const { return end - begin; }
};

std::byte* data_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

/// The chunk of a tensor at hand, and where the ranks' slots for it are.
struct Chunk {
  const Transport& transport;
  const SharedMemory& memory;
  std::uint64_t number;
  Range range;
  [[nodiscard]] std::byte* slot(int rank) const { return memory.slot(rank, number); }
};

/// `bytes` cut between whole elements into chunks of at most `chunk_bytes`, which go through the stages one
/// behind the other: a rank does the latest stage that others let it do, as values are then still in the
/// cache. Without `reduce` there are two stages.
class Pipeline {
 public:
  using Work = std::function<void(const Chunk&)>;

  Pipeline(SharedMemory& memory, std::size_t bytes, std::size_t chunk_bytes, std::size_t element, Work write,
           Work reduce, Work read)
      : memory_(&memory),
        bytes_(bytes),
        step_(std::max(element, chunk_bytes / element * element)),
        chunks_((bytes + step_ - 1) / step_),
        work_{std::move(write), std::move(reduce), std::move(read)} {}

  Progress operator()(Transport& transport) {
    if (!begun_) first_ = memory_->next_chunks(chunks_);
    begun_ = true;
    Progress progress = Progress::none;
    while (next_.back() < chunks_) {
      if (!do_one(transport)) return progress;
      progress = Progress::some;
    }
    return Progress::done;
  }

 private:
  bool do_one(const Transport& transport) {
    for (const Stage stage : {Stage::read, Stage::reduce, Stage::write}) {
      const std::size_t chunk = next_[index(stage)];
      if (!work_[index(stage)] || chunk == chunks_ || !may(stage, chunk)) continue;
      const Range range{chunk * step_, std::min(bytes_, (chunk + 1) * step_)};
      work_[index(stage)]({transport, *memory_, first_ + chunk, range});
      memory_->finish(stage, first_ + chunk);
      ++next_[index(stage)];
      return true;
    }
    return false;
  }

  [[nodiscard]] bool may(Stage stage, std::size_t chunk) const {
    const std::uint64_t number = first_ + chunk;
    if (stage == Stage::write)
      return number < SharedMemory::slots() ||
             memory_->all_finished(Stage::read, number - SharedMemory::slots());
    const Stage before = stage == Stage::read && work_[index(Stage::reduce)] ? Stage::reduce : Stage::write;
    return next_[index(before)] > chunk && memory_->all_finished(before, number);
  }

  static constexpr std::size_t index(Stage stage) { return static_cast<std::size_t>(stage); }

  SharedMemory* memory_;
  std::size_t bytes_, step_, chunks_;
  std::array<Work, 3> work_;
  bool begun_ = false;
  std::uint64_t first_ = 0;
  std::array<std::size_t, 3> next_{};  // chunk of each stage
};

/// The piece of a chunk that `rank` reduces, between whole elements.
Range piece_of(const Range& chunk, int rank, int size, std::size_t element) {
  const std::size_t elements = chunk.bytes() / element;
  const auto cut = [&](int r) {
    return chunk.begin + elements * static_cast<std::size_t>(r) / static_cast<std::size_t>(size) * element;
  };
  return {cut(rank), cut(rank + 1)};
}

/// The versions of all ranks: `mine` of this one, those of the others at `offset` in their slots.
std::vector<const std::byte*> versions(const Chunk& chunk, const std::byte* mine, std::size_t offset) {
  std::vector<const std::byte*> all;
  for (int rank = 0; rank < chunk.transport.size; ++rank)
    all.push_back(rank == chunk.transport.rank ? mine : chunk.slot(rank) + offset);
  return all;
}

/// Calls `work(rank)` for each other rank, beginning with the next one: not all read the same slot at once.
template <class Work>
void for_each_other(const Transport& transport, const Work& work) {
  for (int i = 1; i < transport.size; ++i) work((transport.rank + i) % transport.size);
}

}  // namespace

Step shared_all_reduce(const at::Tensor& values, Reduce op, SharedMemory& memory) {
  const std::size_t element = values.element_size();
  const auto piece = [=](const Chunk& chunk, int rank) {
    return piece_of(chunk.range, rank, chunk.transport.size, element);
  };
  const auto write = [=](const Chunk& chunk) {
    for_each_other(chunk.transport, [&](int rank) {
      const Range part = piece(chunk, rank);
      std::memcpy(chunk.slot(chunk.transport.rank) + (part.begin - chunk.range.begin),
                  data_of(values) + part.begin, part.bytes());
    });
  };
  const auto reduce = [=](const Chunk& chunk) {
    const Range mine = piece(chunk, chunk.transport.rank);
    std::byte* const total = data_of(values) + mine.begin;
    const std::size_t offset = mine.begin - chunk.range.begin;
    combine(versions(chunk, total, offset), total, mine.bytes() / element, values.scalar_type(), op,
            chunk.slot(chunk.transport.rank) + offset);
  };
  const auto read = [=](const Chunk& chunk) {
    for_each_other(chunk.transport, [&](int rank) {
      const Range part = piece(chunk, rank);
      std::memcpy(data_of(values) + part.begin, chunk.slot(rank) + (part.begin - chunk.range.begin),
                  part.bytes());
    });
  };
  return Pipeline(memory, values.nbytes(), memory.slot_bytes(), element, write, reduce, read);
}

Step shared_reduce_scatter(const at::Tensor& output, const at::Tensor& input, Reduce op, int size,
                           SharedMemory& memory) {
  const std::size_t block = output.nbytes(), element = output.element_size();
  const auto source = [=](const Chunk& chunk, int rank) {
    return data_of(input) + static_cast<std::size_t>(rank) * block + chunk.range.begin;
  };
  const auto place = [](const Chunk& chunk, int rank) {
    return static_cast<std::size_t>(rank) * chunk.range.bytes();
  };
  const auto write = [=](const Chunk& chunk) {
    for_each_other(chunk.transport, [&](int rank) {
      std::memcpy(chunk.slot(chunk.transport.rank) + place(chunk, rank), source(chunk, rank),
                  chunk.range.bytes());
    });
  };
  const auto read = [=](const Chunk& chunk) {
    const int rank = chunk.transport.rank;
    combine(versions(chunk, source(chunk, rank), place(chunk, rank)), data_of(output) + chunk.range.begin,
            chunk.range.bytes() / element, output.scalar_type(), op);
  };
  return Pipeline(memory, block, memory.slot_bytes() / static_cast<std::size_t>(size), element, write, {},
                  read);
}

Step shared_all_gather(const at::Tensor& output, const at::Tensor& input, SharedMemory& memory) {
  const std::size_t block = input.nbytes();
  const auto target = [=](const Chunk& chunk, int rank) {
    return data_of(output) + static_cast<std::size_t>(rank) * block + chunk.range.begin;
  };
  const auto write = [=](const Chunk& chunk) {
    const int rank = chunk.transport.rank;
    const std::byte* const mine = data_of(input) + chunk.range.begin;
    std::memcpy(chunk.slot(rank), mine, chunk.range.bytes());
    if (mine != target(chunk, rank)) std::memcpy(target(chunk, rank), mine, chunk.range.bytes());
  };
  const auto read = [=](const Chunk& chunk) {
    for_each_other(chunk.transport, [&](int rank) {
      std::memcpy(target(chunk, rank), chunk.slot(rank), chunk.range.bytes());
    });
  };
  return Pipeline(memory, block, memory.slot_bytes(), input.element_size(), write, {}, read);
}

Step shared_broadcast(const at::Tensor& values, int root, SharedMemory& memory) {
  const auto write = [=](const Chunk& chunk) {
    if (chunk.transport.rank == root)
      std::memcpy(chunk.slot(root), data_of(values) + chunk.range.begin, chunk.range.bytes());
  };
  const auto read = [=](const Chunk& chunk) {
    if (chunk.transport.rank != root)
      std::memcpy(data_of(values) + chunk.range.begin, chunk.slot(root), chunk.range.bytes());
  };
  return Pipeline(memory, values.nbytes(), memory.slot_bytes(), values.element_size(), write, {}, read);
}

}  // namespace cohort::comm::mpi
