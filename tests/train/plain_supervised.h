#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include <ATen/ATen.h>

#include "cohort/augment/views.h"
#include "cohort/nn/vit.h"

#include "plain_run.h"
#include "support/options.h"

namespace cohort::train {

/// Cross-entropy with label smoothing; all gradients clipped together.
class PlainSupervised final : public PlainRun {
 public:
  explicit PlainSupervised(const RunConfig& config)
      : PlainRun(config), model_(shape(std::ssize(description().labels.front().classes)), config.seed) {
    remember("/model/", model_, true);
  }

  void step(std::int64_t step) override {
    const auto views =
        augment::training_view(config_.augment.whole, description(), config_.data.normalisation, config_.seed,
                               step / steps_per_epoch());
    const data::Batch batch = this->batch(step, *views);
    const at::Tensor log_probability =
        model_
            .encode(batch.views[0],
                    {.context = batch.context,
                     .group = batch.group,
                     .sample = batch.sample,
                     .seed = config_.seed,
                     .step = step,
                     .training = true},
                    nn::Encoder::pooled | nn::Encoder::tokens | nn::Encoder::logits)
            .logits.log_softmax(1);
    const double smoothing = testing::number_of(config_, "supervised.label_smoothing");
    const at::Tensor losses =
        log_probability.gather(1, batch.label.unsqueeze(1)).squeeze(1) * (smoothing - 1) -
        log_probability.mean(1) * smoothing;
    model_.zero_grad();
    losses.mean().backward();
    update(step);
  }

 private:
  void update(std::int64_t step) {
    const at::NoGradGuard no_gradients;
    double squares = 0;
    for (const at::Tensor& parameter : model_.parameters()) {
      const at::Tensor& gradient = parameter.grad();
      if (gradient.defined()) squares += gradient.to(at::kDouble).square().sum().item<double>();
    }
    const double clip = config_.optimizer.clip_norm,
                 factor = clip > 0 ? std::min(1.0, clip / (std::sqrt(squares) + 1e-6)) : 1.0;
    for (const auto& parameter : model_.named_parameters()) {
      const std::string& name = parameter.key();
      const at::Tensor gradient = parameter.value().grad().defined() ? parameter.value().grad() * factor
                                                                     : at::zeros_like(parameter.value());
      const double depth = static_cast<double>(model_.shape().depth + 1 - layer_of(name));
      adamw(name, parameter.value(), gradient,
            learning_rate(step) * std::pow(config_.optimizer.layer_decay, depth), weight_decay(step),
            step + 1);
    }
  }
  [[nodiscard]] std::int64_t layer_of(const std::string& name) const {
    if (name.starts_with("blocks.")) return name[7] - '0' + 1;
    return name.starts_with("norm.") || name.starts_with("head.") ? model_.shape().depth + 1 : 0;
  }

  nn::VisionTransformer model_;
};

}  // namespace cohort::train
