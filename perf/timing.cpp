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

Times measure(comm::Communicator& ranks, double seconds, const std::function<void()>& prepare,
              const std::function<void()>& run) {
  const double first = ranks.max(run_once(ranks, prepare, run));
  const auto runs =
      static_cast<std::int64_t>(std::clamp(std::ceil(seconds / std::max(first, 1e-7)), 5.0, 1000.0));
  at::Tensor samples = at::empty({runs}, at::kDouble);
  for (std::int64_t i = 0; i < runs; ++i) samples.data_ptr<double>()[i] = run_once(ranks, prepare, run);
  ranks.all_reduce(samples, comm::Reduce::max).wait();
  Times times{0, 0, {samples.data_ptr<double>(), samples.data_ptr<double>() + runs}};
  times.median = quantile(times.samples, 0.5);
  times.p99 = quantile(times.samples, 0.99);
  return times;
}

std::vector<double> Times::microseconds() const {
  std::vector<double> result = samples;
  for (double& value : result) value *= 1e6;
  return result;
}

}  // namespace cohort::perf
