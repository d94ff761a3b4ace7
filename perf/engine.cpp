#include <algorithm>
#include <chrono>
#include <memory>
#include <sys/resource.h>
#include <vector>

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include "cohort/core/text.h"
#include "cohort/eval/autocast.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/vit.h"
#include "cohort/shard/optimizer.h"
#include "cohort/shard/sharded_model.h"

#include "benchmarks.h"
#include "statistics.h"
#include "table.h"

namespace cohort::perf {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kClasses = 10;

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

// Supervised training of a plain vision transformer on images that stay in memory.
class Training {
 public:
  Training(const EngineOptions& options, comm::Communicator& ranks)
      : options_(options),
        mesh_(ranks, shard::shards_of(options.sharding, ranks)),
        model_(std::make_shared<nn::VisionTransformer>(shape_of(options))),
        sharded_(model_,
                 {.config = options.sharding,
                  .reproducible = options.reproducible,
                  .fill = nn::Initialiser(*model_, 1)},
                 mesh_),
        optimizer_(shard::make_optimizer(sharded_.shards(), {.clip_norm = 1.0},
                                         [this](auto values) { return sharded_.squared_norms(values); })),
        images_(at::randn({options.images, 3, options.image, options.image}) + ranks.rank()),
        labels_(at::arange(options.images) % kClasses) {
    conditions_.sample = at::arange(options.images);
    conditions_.training = true;
  }

  // Seconds, of which `wait` for other ranks.
  double step(double& wait) {
    const auto begin = Clock::now();
    sharded_.begin_step(static_cast<int>(options_.micro_batches));
    for (const at::Tensor& sample : conditions_.sample.chunk(options_.micro_batches)) backward(sample);
    optimizer_->step(1e-4, 0.05, optimizer_->clip_gradients());
    sharded_.parameters_changed();
    wait = sharded_.take_wait().count();
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

  // What this rank has to hold, in MiB: values, gradients and two moments of its shard; the rest of the
  // values if they stay; and, when there is more than one shard, the two largest units on their way: values,
  // if they do not stay, and gradients.
  [[nodiscard]] double state_mib() {
    const double shards = mesh_.shards();
    const bool stays = options_.sharding.strategy == shard::Strategy::optimizer;
    std::vector<double> wholes;
    double bytes = 0;
    for (const shard::FlatShard& shard : sharded_.shards()) {
      const double slice = 4.0 * static_cast<double>(shard.value.numel());
      bytes += 4 * slice + (stays ? (shards - 1) * slice : 0);
      wholes.push_back(shards * slice);
    }
    std::sort(wholes.rbegin(), wholes.rend());
    if (shards > 1) bytes += (wholes[0] + wholes[1]) * (stays ? 1 : 2);
    return bytes / (1 << 20);
  }

 private:
  void backward(const at::Tensor& sample) {
    nn::Conditions conditions = conditions_;
    conditions.sample = sample;
    at::Tensor loss;
    {
      const eval::Bf16Scope scope(options_.bf16, at::kCPU);
      const at::Tensor logits = model_->forward(images_.index_select(0, sample), conditions).logits;
      loss = at::cross_entropy_loss(logits.to(at::kFloat), labels_.index_select(0, sample));
    }
    (loss / (mesh_.world().size() * options_.micro_batches)).backward();
    sharded_.finish_backward();
  }

  static nn::VitShape shape_of(const EngineOptions& options) {
    return nn::vit_shape({.name = options.model, .patch_size = options.patch}, {}, {}, 3, options.image,
                         options.image, kClasses);
  }

  EngineOptions options_;
  comm::DeviceMesh mesh_;
  std::shared_ptr<nn::VisionTransformer> model_;
  shard::ShardedModel sharded_;
  std::unique_ptr<shard::Optimizer> optimizer_;
  at::Tensor images_, labels_;
  nn::Conditions conditions_;
};

}  // namespace

ExitCode engine(const EngineOptions& options, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (options.images % options.micro_batches != 0)
      throw UsageError({fmt::format("{} images are not a multiple of {} micro-batches", options.images,
                                    options.micro_batches),
                        "command line", "choose --micro-batches that divides --images"});
  });
  const double before = ranks.max(peak_mib());
  Training training(options, ranks);
  const double built = ranks.max(peak_mib());
  std::vector<double> seconds, waits;
  for (std::int64_t i = -1; i < options.steps; ++i) {
    double wait = 0;
    ranks.barrier();
    const double time = training.step(wait);
    if (i < 0) continue;  // warm-up
    seconds.push_back(ranks.max(time));
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
      {"training steps of a plain ViT on images in memory; times: slowest rank; memory: of the largest rank,",
       "peak resident set; state: values, gradients and optimizer of a shard and the two largest units"},
      {{"model", "", 10, 0, Role::key},
       {"strategy", "", 10, 0, Role::key},
       {"dtype", "", 5, 0, Role::key},
       {"images", "a rank", 7, 0, Role::key},
       {"micro", "batches", 8, 0, Role::key},
       {"step min", "ms", 9, 1},
       {"step p50", "ms", 9, 1, Role::lower},
       {"images/s", "all", 9, 2},
       {"waiting", "%", 8, 1},
       {"empty", "MiB", 7},
       {"built", "MiB", 7},
       {"peak", "MiB", 7},
       {"state", "MiB", 7},
       {"#wrong", "", 6}});
  const auto images = static_cast<double>(options.images * ranks.size());
  const double state = training.state_mib();
  table.add({options.model, std::string(config::enum_name(options.sharding.strategy)),
             options.bf16 ? "bf16" : "fp32", options.images, options.micro_batches, 1e3 * *std::min_element(seconds.begin(), seconds.end()),
             middle * 1e3, images / middle, 100 * waited / total, before, built, ranks.max(peak_mib()), state,
             std::int64_t{0}},
            milliseconds);
  results.finish();
  return ExitCode::done;
}

}  // namespace cohort::perf
