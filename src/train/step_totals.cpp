#include "train/step_totals.h"

#include <algorithm>
#include <sys/resource.h>

#include <ATen/ATen.h>

namespace cohort::train {
namespace {

constexpr std::size_t kFixed = 4;  // loss, stop, data wait, communication wait

/// [kFixed values, sum and count of every metric, the memory of every rank at its own place].
std::vector<double> packed(const StepShare& share, const comm::Communicator& ranks) {
  std::vector<double> values{share.loss, share.stop ? 1.0 : 0.0, share.data_wait.count(),
                             share.comm_wait.count()};
  for (const auto& entry : share.metrics.entries()) {
    values.push_back(entry.sum);
    values.push_back(static_cast<double>(entry.count));
  }
  values.resize(values.size() + static_cast<std::size_t>(ranks.size()));
  values[values.size() - static_cast<std::size_t>(ranks.size() - ranks.rank())] =
      static_cast<double>(share.memory_bytes);
  return values;
}

}  // namespace

StepTotals sum_over_ranks(const StepShare& share, comm::Communicator& ranks) {
  std::vector<double> values = packed(share, ranks);
  const auto size = static_cast<std::int64_t>(values.size());
  ranks.all_reduce(at::from_blob(values.data(), {size}, at::kDouble)).wait();
  StepTotals totals;
  totals.loss = values[0];
  totals.stop = values[1] > 0;
  totals.data_seconds = values[2] / ranks.size();
  totals.comm_seconds = values[3] / ranks.size();
  std::size_t next = kFixed;
  for (const auto& entry : share.metrics.entries()) {
    const double count = values[next + 1];
    totals.metrics.emplace_back(entry.name, count > 0 ? values[next] / count : 0.0);
    next += 2;
  }
  totals.memory_bytes = static_cast<std::int64_t>(
      *std::max_element(values.begin() + static_cast<std::ptrdiff_t>(next), values.end()));
  return totals;
}

std::int64_t peak_memory_bytes() noexcept {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace cohort::train
