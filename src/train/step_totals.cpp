#include "train/step_totals.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <sys/resource.h>

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "cohort/core/error.h"

namespace cohort::train {
namespace {

constexpr std::size_t kFixed = 6;  // stop, data wait, communication wait, save, reading, views

/// `values` of every rank, those of the others zero: their sum over ranks is exact in any order.
void append_by_rank(std::vector<double>& packed, const std::vector<double>& values,
                    const comm::Communicator& ranks) {
  const auto size = static_cast<std::size_t>(ranks.size()), rank = static_cast<std::size_t>(ranks.rank());
  const std::size_t begin = packed.size();
  packed.resize(begin + size * values.size());
  std::copy(values.begin(), values.end(),
            packed.begin() + static_cast<std::ptrdiff_t>(begin + rank * values.size()));
}

/// What a double holds of it.
double exact_part(std::uint64_t number) {
  return static_cast<double>(number >> 12U);
}

void check_calls(std::span<const double> by_rank) {
  const auto other =
      std::find_if(by_rank.begin(), by_rank.end(), [&](double calls) { return calls != by_rank.front(); });
  COHORT_CHECK(
      other == by_rank.end(),
      "rank {} ran other units of the model than rank 0, or in another order: a loss must not branch on "
      "its data, nor on its rank; multiply by zero instead",
      other - by_rank.begin());
}

/// [kFixed values, sum and count of every metric, losses by rank, memory, device memory and calls by rank].
std::vector<double> packed(const StepShare& share, const comm::Communicator& ranks) {
  std::vector<double> values{share.stop ? 1.0 : 0.0, share.data_wait.count(), share.comm_wait.count(),
                             share.save ? 1.0 : 0.0, share.read_seconds,      share.view_seconds};
  for (const auto& entry : share.metrics.entries()) {
    values.push_back(entry.sum);
    values.push_back(static_cast<double>(entry.count));
  }
  append_by_rank(values, share.losses, ranks);
  append_by_rank(values, {static_cast<double>(share.memory_bytes)}, ranks);
  append_by_rank(values, {static_cast<double>(share.device_memory_bytes)}, ranks);
  append_by_rank(values, {exact_part(share.calls)}, ranks);
  return values;
}

}  // namespace

StepTotals sum_over_ranks(const StepShare& share, comm::Communicator& ranks) {
  std::vector<double> values = packed(share, ranks);
  const auto size = static_cast<std::int64_t>(values.size());
  ranks.all_reduce(at::from_blob(values.data(), {size}, at::kDouble)).wait();
  StepTotals totals;
  totals.stop = values[0] > 0;
  totals.data_seconds = values[1] / ranks.size();
  totals.comm_seconds = values[2] / ranks.size();
  totals.save = values[3] > 0;
  totals.read_seconds = values[4] / ranks.size();
  totals.view_seconds = values[5] / ranks.size();
  std::size_t next = kFixed;
  for (const auto& entry : share.metrics.entries()) {
    const double count = values[next + 1];
    totals.metrics.emplace_back(entry.name, count > 0 ? values[next] / count : 0.0);
    next += 2;
  }
  const auto losses = values.begin() + static_cast<std::ptrdiff_t>(next),
             memory = values.end() - 3 * ranks.size(), device_memory = values.end() - 2 * ranks.size(),
             calls = values.end() - ranks.size();
  check_calls({calls, values.end()});
  totals.losses.assign(losses, memory);
  totals.loss = std::accumulate(losses, memory, 0.0);
  totals.memory_bytes = static_cast<std::int64_t>(*std::max_element(memory, device_memory));
  totals.device_memory_bytes = static_cast<std::int64_t>(*std::max_element(device_memory, calls));
  return totals;
}

StepRecord step_record(const StepTotals& totals, const method::Step& step, double lr, double gradient_norm,
                       std::chrono::duration<double> time) {
  const double seconds = std::max(time.count(), 1e-9);
  return {step.step + 1,
          step.epoch,
          totals.loss,
          lr,
          gradient_norm,
          seconds,
          static_cast<double>(step.global_images) / seconds,
          std::min(totals.data_seconds / seconds, 1.0),
          std::min(totals.comm_seconds / seconds, 1.0),
          totals.read_seconds,
          totals.view_seconds,
          totals.memory_bytes,
          totals.device_memory_bytes,
          totals.metrics};
}

std::int64_t peak_memory_bytes() noexcept {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

std::int64_t peak_memory_bytes(at::Device device) {
  if (device.is_cpu()) return 0;
  const auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return c10::getDeviceAllocator(device.type())->getDeviceStats(device.index()).allocated_bytes[all].peak;
}

}  // namespace cohort::train
