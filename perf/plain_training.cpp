#include "plain_training.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/nn/autocast.h"
#include "cohort/nn/initialise.h"

namespace cohort::perf {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kClasses = 10;

nn::VitShape shape_of(const EngineOptions& options) {
  const nn::ModelConfig model{.name = options.model, .patch_size = options.patch};
  const nn::ContextConfig context{.keys = {"context"}, .amortization = nn::Amortization::mean_linear};
  return options.context ? nn::vit_shape(model, context, {1}, 3, options.image, options.image, kClasses)
                         : nn::vit_shape(model, {}, {}, 3, options.image, options.image, kClasses);
}

}  // namespace

PlainTraining::PlainTraining(const EngineOptions& options, comm::Communicator& ranks)
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
  conditions_.context = at::zeros({options.images, 1}, at::kLong);
  conditions_.group = at::zeros({options.images}, at::kLong);
  conditions_.training = true;
}

double PlainTraining::step(double& wait) {
  const auto begin = Clock::now();
  sharded_.begin_step(static_cast<int>(options_.micro_batches));
  for (const at::Tensor& sample : conditions_.sample.chunk(options_.micro_batches)) backward(sample);
  optimizer_->step(1e-4, 0.05, optimizer_->clip_gradients());
  sharded_.parameters_changed();
  wait = sharded_.take_wait().count();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double PlainTraining::state_mib() {
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

void PlainTraining::backward(const at::Tensor& sample) {
  nn::Conditions conditions = conditions_;
  conditions.sample = sample;
  conditions.context = conditions_.context.index_select(0, sample);
  conditions.group = conditions_.group.index_select(0, sample);
  at::Tensor loss;
  {
    const nn::Bf16Scope scope(options_.bf16, at::kCPU);
    const at::Tensor images = images_.index_select(0, sample);
    const at::Tensor logits = model_->encode(images, conditions, nn::Encoder::logits).logits;
    loss = at::cross_entropy_loss(logits.to(at::kFloat), labels_.index_select(0, sample));
  }
  (loss / (mesh_.world().size() * options_.micro_batches)).backward();
  sharded_.finish_backward();
}

}  // namespace cohort::perf
