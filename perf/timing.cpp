#include "timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <vector>

#include <ATen/ATen.h>

#include "statistics.h"

namespace cohort::perf {
namespace {

double run_once(comm::Communicator& ranks, const std::function<void()>& prepare,
                const std::function<void()>& run) {
  prepare();
  ranks.barrier();
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::vector<Times> measure_in_turns(comm::Communicator& ranks, double seconds,
                                    const std::function<void()>& prepare,
                                    const std::vector<std::function<void()>>& runs) {
  double first = 1e-7;
  for (const auto& run : runs) first = std::max(first, ranks.max(run_once(ranks, prepare, run)));
  const auto rounds = static_cast<std::int64_t>(std::clamp(std::ceil(seconds / first), 5.0, 1000.0));
  at::Tensor samples = at::empty({std::ssize(runs), rounds}, at::kDouble);
  auto values = samples.accessor<double, 2>();
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (std::int64_t i = 0; i < std::ssize(runs); ++i)
      values[i][round] = run_once(ranks, prepare, runs[static_cast<std::size_t>(i)]);
  }
  ranks.all_reduce(samples, comm::Reduce::max).wait();
  std::vector<Times> all;
  for (std::int64_t i = 0; i < std::ssize(runs); ++i) {
    const double* begin = samples.data_ptr<double>() + i * rounds;
    Times& times = all.emplace_back(Times{0, 0, {begin, begin + rounds}});
    times.median = quantile(times.samples, 0.5);
    times.p99 = quantile(times.samples, 0.99);
  }
  return all;
}

Times measure(comm::Communicator& ranks, double seconds, const std::function<void()>& prepare,
              const std::function<void()>& run) {
  return measure_in_turns(ranks, seconds, prepare, {run}).front();
}

std::vector<double> Times::microseconds() const {
  std::vector<double> result = samples;
  for (double& value : result) value *= 1e6;
  return result;
}

}  // namespace cohort::perf
