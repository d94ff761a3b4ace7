#include "cohort/shard/optimizer.h"

#include <algorithm>
#include <cmath>

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include "cohort/core/error.h"

namespace cohort::shard {
namespace {

// Parallel views of every shard that share a weight decay.
struct Views {
  std::vector<at::Tensor> value, gradient, mean, mean_square, step;
};

// Values of the shard that belong to decayed parameters: they come first.
std::int64_t decayed_in(const FlatShard& shard) {
  std::int64_t decayed = 0;
  for (const ParameterSlot& slot : shard.slots) {
    if (slot.shape.size() >= 2) decayed = slot.offset + (c10::multiply_integers(slot.shape) + 15) / 16 * 16;
  }
  return std::clamp<std::int64_t>(decayed - shard.begin, 0, shard.value.numel());
}

}  // namespace

AdamW::AdamW(std::span<FlatShard> shards, const OptimizerConfig& config) : shards_(shards), config_(config) {
  for (const FlatShard& shard : shards_) {
    mean_.push_back(at::zeros_like(shard.value));
    mean_square_.push_back(at::zeros_like(shard.value));
  }
}

void AdamW::step(double lr, double weight_decay, double gradient_norm) {
  if (!std::isfinite(gradient_norm)) {
    throw NumericalError({fmt::format("the norm of the gradients is {}", gradient_norm),
                          fmt::format("update {}", steps_ + 1),
                          "lower optimizer.lr, set optimizer.clip_norm or lengthen the warm-up; with bf16, "
                          "try precision=fp32"});
  }
  const double coefficient = config_.clip_norm > 0.0 ? config_.clip_norm / (gradient_norm + 1e-6) : 1.0;
  if (coefficient < 1.0) {
    for (FlatShard& shard : shards_) {
      if (shard.trained) shard.gradient.mul_(coefficient);
    }
  }
  ++steps_;
  update(true, lr, weight_decay);
  update(false, lr, 0.0);
}

void AdamW::update(bool decayed, double lr, double weight_decay) {
  Views views;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const FlatShard& shard = shards_[i];
    const std::int64_t split = decayed_in(shard);
    const std::int64_t begin = decayed ? 0 : split, count = decayed ? split : shard.value.numel() - split;
    if (count == 0 || !shard.trained) continue;
    views.value.push_back(shard.value.narrow(0, begin, count));
    views.gradient.push_back(shard.gradient.narrow(0, begin, count));
    views.mean.push_back(mean_[i].narrow(0, begin, count));
    views.mean_square.push_back(mean_square_[i].narrow(0, begin, count));
    views.step.push_back(at::full({}, static_cast<double>(steps_), shard.value.options()));
  }
  if (views.value.empty()) return;
  at::_fused_adamw_(views.value, views.gradient, views.mean, views.mean_square, {}, views.step, lr,
                    config_.beta1, config_.beta2, weight_decay, config_.epsilon, false, false);
}

std::vector<AdamW::State> AdamW::states() noexcept {
  return {{"exp_avg", mean_}, {"exp_avg_sq", mean_square_}};
}

}  // namespace cohort::shard
