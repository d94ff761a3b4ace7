#include <algorithm>
#include <sys/resource.h>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/core/text.h"

#include "benchmarks.h"
#include "plain_training.h"
#include "statistics.h"
#include "table.h"

namespace cohort::perf {
namespace {

/// Seconds that all threads of this process have computed.
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

}  // namespace

ExitCode engine(const EngineOptions& options, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (options.images % options.micro_batches != 0)
      throw UsageError({fmt::format("{} images are not a multiple of {} micro-batches", options.images,
                                    options.micro_batches),
                        "command line", "choose --micro-batches that divides --images"});
  });
  const double before = ranks.max(peak_mib());
  PlainTraining training(options, ranks);
  const double built = ranks.max(peak_mib());
  std::vector<double> seconds, used, waits;
  for (std::int64_t i = -1; i < options.steps; ++i) {
    double wait = 0;
    ranks.barrier();
    const double before_step = cpu_seconds(), time = training.step(wait),
                 computed = cpu_seconds() - before_step;
    if (i < 0) continue;  // warm-up
    seconds.push_back(ranks.max(time));
    used.push_back(ranks.max(computed));
    waits.push_back(ranks.sum(wait) / ranks.size());
  }
  const double middle = median(seconds);
  double waited = 0, total = 0;
  std::vector<double> milliseconds;
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    total += seconds[i], waited += waits[i];
    milliseconds.push_back(seconds[i] * 1e3);
  }
  Results results("engine", options.output, ranks);
  Table& table = results.table(
      "",
      {"training steps of a ViT on images in memory; times: slowest rank; cpu: of all its threads; memory: "
       "of "
       "the largest rank,",
       "peak resident set; state: values, gradients and optimizer of a shard and the two largest units"},
      {{"model", "", 10, 0, Role::key},
       {"strategy", "", 10, 0, Role::key},
       {"dtype", "", 5, 0, Role::key},
       {"images", "a rank", 7, 0, Role::key},
       {"micro", "batches", 8, 0, Role::key},
       {"step min", "ms", 9, 1},
       {"step p50", "ms", 9, 1, Role::lower},
       {"cpu", "ms", 8, 1},
       {"images/s", "all", 9, 2},
       {"waiting", "%", 8, 1},
       {"empty", "MiB", 7},
       {"built", "MiB", 7},
       {"peak", "MiB", 7},
       {"state", "MiB", 7},
       {"#wrong", "", 6}});
  const auto images = static_cast<double>(options.images * ranks.size());
  const double state = training.state_mib();
  table.add(
      {options.model, std::string(config::enum_name(options.sharding.strategy)),
       options.bf16 ? "bf16" : "fp32", options.images, options.micro_batches,
       1e3 * *std::min_element(seconds.begin(), seconds.end()), middle * 1e3, median(used) * 1e3,
       images / middle, 100 * waited / total, before, built, ranks.max(peak_mib()), state, std::int64_t{0}},
      milliseconds);
  results.finish();
  return ExitCode::done;
}

}  // namespace cohort::perf
