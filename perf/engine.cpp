#include <algorithm>
#include <memory>
#include <sys/resource.h>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/core/text.h"

#include "commands.h"
#include "plain_training.h"
#include "statistics.h"
#include "table.h"

namespace cohort::perf {
namespace {

// What the command line says in other words than EngineOptions.
struct EngineChoice {
  std::string strategy = "full";
  bool narrow = false;
};

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

/// Collective. Training steps of the sharded engine: images/s, time waited for other ranks, memory.
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

}  // namespace

void add_engine(CLI::App& app, Job& job) {
  const auto options = std::make_shared<EngineOptions>();
  const auto choice = std::make_shared<EngineChoice>();
  CLI::App* command = &add_command(app, {"engine",
                                         "Training steps under a sharding strategy: images/s and memory",
                                         {"mpirun -n 4 cohort-perf engine --model vit_small --strategy full"},
                                         endings_on_ranks()});
  command->add_option("--model", options->model, "vit_tiny, vit_small, vit_base or vit_large")
      ->capture_default_str();
  command->add_option("--patch", options->patch, "patch size in pixels")->capture_default_str();
  command->add_option("--image", options->image, "image size in pixels")->capture_default_str();
  command->add_option("--images", options->images, "images in a batch on each rank")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--micro-batches", options->micro_batches, "backward passes that share them")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--steps", options->steps, "steps to measure, after one that is not")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--strategy", choice->strategy, "replicate, optimizer, full or hybrid")
      ->check(CLI::IsMember({"replicate", "optimizer", "full", "hybrid"}))
      ->capture_default_str();
  command->add_option("--shard-size", options->sharding.shard_size, "ranks that share a model under hybrid");
  command->add_flag("--context", options->context,
                    "all images are of one context, with a token (mean_linear)");
  command->add_flag("--bf16", choice->narrow, "compute, gather and reduce in bf16");
  command->add_flag("--bf16-compute", options->bf16, "compute and gather in bf16, reduce in fp32");
  command->add_flag("--reproducible", options->reproducible,
                    "sum gradients of micro-batches in a fixed order");
  command->add_flag("--activation-checkpointing", options->sharding.activation_checkpointing,
                    "compute blocks again in the backward pass");
  add_output(command, options->output);
  command->callback([options, choice, &job] {
    for (const auto& name : enum_names(shard::Strategy{})) {
      if (name.name == choice->strategy) options->sharding.strategy = name.value;
    }
    if (choice->narrow) options->sharding.reduce = shard::WireType::bf16;
    options->bf16 = options->bf16 || choice->narrow;
    if (options->bf16) options->sharding.gather = shard::WireType::bf16;
    job.with_ranks = [options](comm::Communicator& ranks) { return engine(*options, ranks); };
  });
}

}  // namespace cohort::perf
