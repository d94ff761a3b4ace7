#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <mpi.h>

#include "cohort/core/text.h"

#include "benchmarks.h"
#include "table.h"
#include "timing.h"

namespace cohort::perf {
namespace {

/// The buffers of one case, f32: `large` [n·k] and `small` [k] for n ranks.
struct Buffers {
  at::Tensor large, small;
  [[nodiscard]] float* large_data() const { return large.data_ptr<float>(); }
  [[nodiscard]] float* small_data() const { return small.data_ptr<float>(); }
  [[nodiscard]] int large_count() const { return static_cast<int>(large.numel()); }
  [[nodiscard]] int small_count() const { return static_cast<int>(small.numel()); }
};

/// One collective, carried out by Cohort and by MPI, and what it should leave behind.
struct Operation {
  std::string name;
  double bus_factor;  ///< bytes that each link must carry, per byte of the larger buffer (as in nccl-tests)
  std::function<void(Buffers&)> cohort, mpi;
  std::function<at::Tensor(const Buffers&)> result, expected;
};

at::Tensor pattern(std::int64_t first, std::int64_t count) {
  return at::arange(first, first + count, at::kFloat).remainder(7);
}

// Small whole numbers: sums are exact in any order.
void fill(Buffers& buffers, int rank) {
  buffers.large.copy_(pattern(0, buffers.large.numel()).mul_(rank + 1));
  buffers.small.copy_(pattern(0, buffers.small.numel()).mul_(rank + 1));
}

Operation all_reduce(comm::Communicator& ranks, MPI_Comm mpi) {
  const double n = ranks.size();
  return {"all_reduce",
          2 * (n - 1) / n,
          [&ranks](Buffers& b) { ranks.all_reduce(b.large).wait(); },
          [mpi](Buffers& b) {
            MPI_Allreduce(MPI_IN_PLACE, b.large_data(), b.large_count(), MPI_FLOAT, MPI_SUM, mpi);
          },
          [](const Buffers& b) { return b.large; },
          [n](const Buffers& b) { return pattern(0, b.large.numel()).mul_(n * (n + 1) / 2); }};
}

Operation all_gather(comm::Communicator& ranks, MPI_Comm mpi) {
  const double n = ranks.size();
  return {"all_gather",
          (n - 1) / n,
          [&ranks](Buffers& b) { ranks.all_gather(b.large, b.small).wait(); },
          [mpi](Buffers& b) {
            MPI_Allgather(b.small_data(), b.small_count(), MPI_FLOAT, b.large_data(), b.small_count(),
                          MPI_FLOAT, mpi);
          },
          [](const Buffers& b) { return b.large; },
          [n](const Buffers& b) {
            return at::outer(at::arange(1, n + 1, at::kFloat), pattern(0, b.small.numel())).flatten();
          }};
}

Operation reduce_scatter(comm::Communicator& ranks, MPI_Comm mpi) {
  const double n = ranks.size();
  const int rank = ranks.rank();
  return {"reduce_scatter",
          (n - 1) / n,
          [&ranks](Buffers& b) { ranks.reduce_scatter(b.small, b.large).wait(); },
          [mpi](Buffers& b) {
            MPI_Reduce_scatter_block(b.large_data(), b.small_data(), b.small_count(), MPI_FLOAT, MPI_SUM,
                                     mpi);
          },
          [](const Buffers& b) { return b.small; },
          [n, rank](const Buffers& b) {
            return pattern(rank * b.small.numel(), b.small.numel()).mul_(n * (n + 1) / 2);
          }};
}

Operation broadcast(comm::Communicator& ranks, MPI_Comm mpi) {
  return {"broadcast",
          1.0,
          [&ranks](Buffers& b) { ranks.broadcast(b.large).wait(); },
          [mpi](Buffers& b) { MPI_Bcast(b.large_data(), b.large_count(), MPI_FLOAT, 0, mpi); },
          [](const Buffers& b) { return b.large; },
          [](const Buffers& b) { return pattern(0, b.large.numel()); }};
}

std::vector<Operation> choose(const std::vector<std::string>& names, comm::Communicator& ranks) {
  static const std::map<std::string, Operation (*)(comm::Communicator&, MPI_Comm)> known{
      {"all_reduce", all_reduce},
      {"all_gather", all_gather},
      {"reduce_scatter", reduce_scatter},
      {"broadcast", broadcast}};
  std::vector<std::string> known_names;
  for (const auto& [name, make] : known) known_names.push_back(name);
  std::vector<Operation> chosen;
  for (const auto& name : names) {
    const auto found = known.find(name);
    if (found == known.end()) {
      throw UsageError(
          {fmt::format("unknown collective '{}'", name), "--op", did_you_mean(name, known_names)});
    }
    chosen.push_back(found->second(ranks, MPI_Comm_f2c(ranks.mpi_handle())));
  }
  return chosen;
}

/// Wrong values on all ranks after one run on fresh data.
std::int64_t count_wrong(const Operation& operation, Buffers& buffers, comm::Communicator& ranks) {
  fill(buffers, ranks.rank());
  operation.cohort(buffers);
  return ranks.sum(operation.result(buffers).ne(operation.expected(buffers)).sum().item<std::int64_t>());
}

/// Seconds to copy the larger buffer once, all ranks at the same time.
double time_copy(const Buffers& buffers, double seconds, comm::Communicator& ranks) {
  at::Tensor target = at::empty_like(buffers.large);
  const auto copy = [&] { std::memcpy(target.data_ptr(), buffers.large.data_ptr(), buffers.large.nbytes()); };
  return measure(
             ranks, seconds, [] {}, copy)
      .median;
}

std::int64_t run_case(const Operation& operation, std::uint64_t bytes, double seconds, const Table& table,
                      comm::Communicator& ranks) {
  const std::int64_t each = std::max<std::int64_t>(1, static_cast<std::int64_t>(bytes / 4) / ranks.size());
  Buffers buffers{at::empty({each * ranks.size()}, at::kFloat), at::empty({each}, at::kFloat)};
  const auto prepare = [&] { fill(buffers, ranks.rank()); };
  const Times ours = measure(ranks, seconds, prepare, [&] { operation.cohort(buffers); });
  const Times peer = measure(ranks, seconds, prepare, [&] { operation.mpi(buffers); });
  const double copy = time_copy(buffers, seconds, ranks);
  const std::int64_t wrong = count_wrong(operation, buffers, ranks);
  const auto size = static_cast<double>(buffers.large.nbytes());
  const double algorithm = size / ours.median * 1e-9, limit = size / copy * 1e-9;
  const double bus = algorithm * operation.bus_factor;
  table.add({operation.name, static_cast<std::int64_t>(size), "f32", ours.median * 1e6, ours.p99 * 1e6,
             algorithm, bus, limit, 100 * bus / limit, peer.median * 1e6, 100 * peer.median / ours.median,
             wrong});
  return wrong;
}

}  // namespace

ExitCode collectives(const CollectivesOptions& options, comm::Communicator& ranks) {
  std::vector<Operation> operations;
  comm::together(ranks, [&] { operations = choose(options.operations, ranks); });
  const Table table("collectives",
                    {"times: slowest rank. limit: memcpy of as many bytes, all ranks at once. mpi: the same "
                     "call of MPI, blocking;",
                     "of mpi: its time over ours. busbw: algbw times 2(n-1)/n for all_reduce, (n-1)/n for "
                     "gather and scatter"},
                    {{"op", "", 14},
                     {"bytes", "B", 10},
                     {"dtype", "", 5},
                     {"time p50", "us", 10, 1},
                     {"p99", "us", 10, 1},
                     {"algbw", "GB/s", 7, 2},
                     {"busbw", "GB/s", 7, 2},
                     {"limit", "GB/s", 7, 2},
                     {"of limit", "%", 8},
                     {"mpi p50", "us", 10, 1},
                     {"of mpi", "%", 6},
                     {"#wrong", "", 6}},
                    options.json, ranks);
  std::int64_t wrong = 0;
  for (const auto& operation : operations) {
    for (std::uint64_t bytes = options.smallest; bytes <= options.largest; bytes *= options.factor) {
      wrong += run_case(operation, bytes, options.seconds, table, ranks);
    }
  }
  return wrong == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace cohort::perf
