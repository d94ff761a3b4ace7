// Do messages arrive whole and how fast; do the hosts agree on the time?
#include <chrono>
#include <cmath>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <mpi.h>

#include "cohort/core/text.h"

#include "check.h"
#include "comm/mpi_call.h"

namespace cohort::jobs::doctor {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kValues = std::int64_t{4} << 20;  // of f32: 16 MiB
constexpr int kTries = 5;
constexpr double kMostSkewMilliseconds = 1000.0;

double now_milliseconds() {
  using Milliseconds = std::chrono::duration<double, std::milli>;
  return Milliseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// How far rank 0's clock is ahead of this one's, from the exchange that took least. Rank 0 and `other` call
/// it.
double exchange_times(MPI_Comm comm, int other, bool asks) {
  double offset = 0.0, least = std::numeric_limits<double>::max();
  for (int i = 0; i < kTries * 2; ++i) {
    double answer = 0.0;
    if (!asks) {
      comm::check_mpi(MPI_Recv(&answer, 1, MPI_DOUBLE, other, 0, comm, MPI_STATUS_IGNORE), "MPI_Recv");
      answer = now_milliseconds();
      comm::check_mpi(MPI_Send(&answer, 1, MPI_DOUBLE, other, 0, comm), "MPI_Send");
      continue;
    }
    const double before = now_milliseconds();
    comm::check_mpi(MPI_Send(&answer, 1, MPI_DOUBLE, other, 0, comm), "MPI_Send");
    comm::check_mpi(MPI_Recv(&answer, 1, MPI_DOUBLE, other, 0, comm, MPI_STATUS_IGNORE), "MPI_Recv");
    const double after = now_milliseconds();
    if (after - before >= least) continue;
    least = after - before;
    offset = answer - (before + after) / 2;
  }
  return offset;
}

std::vector<int> leaders_after_first(const Cluster& cluster) {
  std::vector<int> leaders;
  for (std::size_t rank = 1; rank < cluster.hosts.size(); ++rank) {
    const auto first = std::find(cluster.hosts.begin(), cluster.hosts.end(), cluster.hosts[rank]);
    if (first - cluster.hosts.begin() == static_cast<std::ptrdiff_t>(rank))
      leaders.push_back(static_cast<int>(rank));
  }
  return leaders;
}

}  // namespace

Finding check_all_reduce(Cluster& cluster) {
  comm::Communicator& ranks = cluster.ranks;
  if (ranks.size() == 1) return {Status::ok, "one rank: nothing to exchange", ""};
  // Small integers, whose sums are exact in f32.
  const at::Tensor pattern = at::arange(kValues, at::kFloat).remainder(61);
  const float factor = static_cast<float>(ranks.size() * (ranks.size() + 1) / 2);
  double best = std::numeric_limits<double>::max();
  std::int64_t wrong = 0;
  for (int i = 0; i < kTries; ++i) {
    const at::Tensor values = pattern * static_cast<float>(ranks.rank() + 1);
    ranks.barrier();
    const auto begin = Clock::now();
    ranks.all_reduce(values).wait();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
    wrong += values.ne(pattern * factor).sum().item<std::int64_t>();
  }
  best = ranks.max(best);
  if (wrong > 0) {
    return {Status::fail, fmt::format("{} of {} sums are wrong", wrong, kTries * kValues),
            "do not train here: try another transport (OMPI_MCA_pml=ob1, UCX_TLS), another host, then ask "
            "who runs the network"};
  }
  return {Status::ok,
          fmt::format("sums of {} right; {:.1f} ms, {:.2f} GB/s", format_bytes(4 * kValues), best * 1e3,
                      4e-9 * static_cast<double>(kValues) / best),
          ""};
}

Finding check_clocks(Cluster& cluster) {
  const std::vector<int> leaders = leaders_after_first(cluster);
  if (leaders.empty()) return {Status::ok, "one host: one clock", ""};
  const comm::Communicator apart = cluster.ranks.duplicate("clocks");
  const MPI_Comm comm = MPI_Comm_f2c(apart.mpi_handle());
  double offset = 0.0;
  for (const int leader : leaders) {
    if (apart.rank() == 0) exchange_times(comm, leader, false);
    if (apart.rank() == leader) offset = exchange_times(comm, 0, true);
  }
  const double largest = cluster.ranks.max(std::abs(offset));
  if (largest <= kMostSkewMilliseconds)
    return {Status::ok, fmt::format("at most {:.1f} ms apart", largest), ""};
  if (std::abs(offset) <= kMostSkewMilliseconds) return {Status::ok, "", ""};
  return {Status::warn, fmt::format("{:.0f} ms from the clock of {}", -offset, cluster.hosts.front()),
          "have its clock set by NTP or chrony: file times, log lines and tickets of hosts disagree"};
}

}  // namespace cohort::jobs::doctor
