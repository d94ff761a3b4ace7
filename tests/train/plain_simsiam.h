#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include <ATen/ATen.h>

#include "cohort/augment/views.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/projection_head.h"
#include "cohort/nn/step_state.h"
#include "cohort/nn/vit.h"

#include "plain_run.h"
#include "support/options.h"

namespace cohort::train {

/// SimSiam (arXiv 2011.10566, algorithm 1), without clipping.
class PlainSimsiam final : public PlainRun {
 public:
  explicit PlainSimsiam(const RunConfig& config)
      : PlainRun(config),
        model_(std::make_shared<nn::VisionTransformer>(shape(0), config_.seed), projector(), predictor()) {
    nn::initialise(model_, config_.seed);
    remember("/model/", model_, true);
  }

  void step(std::int64_t step) override {
    const auto views = augment::training_views(config_.augment, description(), config_.data.normalisation,
                                               config_.seed, step / steps_per_epoch());
    const data::Batch batch = this->batch(step, *views);
    std::array<at::Tensor, 2> p, z;
    for (const std::int64_t view : {0, 1}) {
      nn::Conditions seen{.context = batch.context,
                          .group = batch.group,
                          .sample = batch.sample * 2 + view,
                          .seed = config_.seed,
                          .step = step};
      seen.pass = view;
      seen.training = true;
      const auto at = static_cast<std::size_t>(view);
      const auto output = model_.forward(batch.views[at], seen);
      p[at] = output.rows;
      z[at] = output.projection;
    }
    model_.zero_grad();
    (distance(p[0], z[1]) / 2 + distance(p[1], z[0]) / 2).backward();
    update(step);
    for (const auto& module : model_.modules(/*include_self=*/false)) {
      if (auto* state = dynamic_cast<nn::StepState*>(module.get())) state->finish_step();
    }
  }

 private:
  [[nodiscard]] std::int64_t width(const std::string& key) const {
    return static_cast<std::int64_t>(testing::number_of(config_, "simsiam." + key));
  }
  [[nodiscard]] nn::ProjectionHeadShape projector() const {
    return {.hidden = width("hidden"),
            .outputs = width("outputs"),
            .layers = 3,
            .bias = nn::HeadBias::none,
            .normalises_outputs = true};
  }
  [[nodiscard]] nn::ProjectionHeadShape predictor() const {
    return {.hidden = width("bottleneck"), .outputs = width("outputs"), .bias = nn::HeadBias::outputs};
  }

  static at::Tensor distance(const at::Tensor& p, const at::Tensor& z) {
    const at::Tensor fixed = z.detach();
    return -((p * fixed).sum(1) / (p.norm(2, 1) * fixed.norm(2, 1))).mean();
  }

  void update(std::int64_t step) {
    const at::NoGradGuard no_gradients;
    for (const auto& parameter : model_.named_parameters()) {
      const at::Tensor& gradient = parameter.value().grad();
      adamw(parameter.key(), parameter.value(),
            gradient.defined() ? gradient : at::zeros_like(parameter.value()), learning_rate(step),
            weight_decay(step), step + 1);
    }
  }

  nn::ProjectedEncoder model_;
};

}  // namespace cohort::train
