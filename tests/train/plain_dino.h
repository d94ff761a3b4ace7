#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/augment/views.h"
#include "cohort/nn/dino_network.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/vit.h"

#include "plain_run.h"
#include "support/options.h"

namespace cohort::train {

/// Self-distillation (arXiv 2104.14294, algorithm 1 and appendix A): every gradient clipped by itself, the
/// last layer of the head held for the first epochs, a teacher that follows, and a centre.
class PlainDino final : public PlainRun {
 public:
  explicit PlainDino(const RunConfig& config)
      : PlainRun(config),
        student_(network()),
        teacher_(network()),
        centre_(at::zeros({count_of("prototypes")})) {
    remember("/student/", *student_, true);
    remember("/teacher/", *teacher_, false);
    remember("/method/centre", centre_);
  }

  void step(std::int64_t step) override {
    const data::Batch batch = this->batch(step, *views(step / steps_per_epoch()));
    const std::vector<at::Tensor> targets = taught(batch, step), answers = learnt(batch, step);
    at::Tensor loss = at::zeros({});
    double pairs = 0;
    for (std::size_t t = 0; t < 2; ++t) {
      for (std::size_t s = 0; s < answers.size(); ++s) {
        if (s == t) continue;
        loss = loss - (targets[t] * answers[s]).sum(1).mean();
        ++pairs;
      }
    }
    student_->zero_grad();
    (loss / pairs).backward();
    update(step);
    follow(step);
  }

 private:
  [[nodiscard]] double option(const std::string& key) const {
    return testing::number_of(config_, "dino." + key);
  }
  [[nodiscard]] std::int64_t count_of(const std::string& key) const {
    return static_cast<std::int64_t>(option(key));
  }

  [[nodiscard]] std::shared_ptr<nn::DinoNetwork> network() const {
    const auto backbone = std::make_shared<nn::VisionTransformer>(shape(0), config_.seed);
    auto network =
        std::make_shared<nn::DinoNetwork>(backbone, nn::DinoHeadShape{.width = backbone->shape().embed_dim,
                                                                      .hidden = count_of("hidden"),
                                                                      .bottleneck = count_of("bottleneck"),
                                                                      .prototypes = count_of("prototypes")});
    nn::initialise(*network, config_.seed);
    return network;
  }

  [[nodiscard]] std::unique_ptr<data::ViewMaker> views(std::int64_t epoch) const {
    return augment::training_views(config_.augment, description(), config_.data.normalisation, config_.seed,
                                   epoch);
  }

  /// Logits of views `first` … of one size, view by view.
  at::Tensor logits(nn::DinoNetwork& network, const data::Batch& batch, std::int64_t first,
                    std::int64_t count, std::int64_t step, bool training) const {
    std::vector<at::Tensor> images, context, group, sample;
    for (std::int64_t view = first; view < first + count; ++view) {
      images.push_back(batch.views[static_cast<std::size_t>(view)]);
      context.push_back(batch.context);
      group.push_back(batch.group);
      sample.push_back(batch.sample * std::ssize(batch.views) + view);
    }
    const auto output = network.backbone()->encode(at::cat(images),
                                                   {.context = at::cat(context),
                                                    .group = at::cat(group),
                                                    .sample = at::cat(sample),
                                                    .seed = config_.seed,
                                                    .step = step,
                                                    .training = training},
                                                   nn::Encoder::pooled | nn::Encoder::tokens);
    return network.head().forward(output.pooled, nullptr);
  }

  /// Probabilities of the two large views; what the centre learns of them.
  std::vector<at::Tensor> taught(const data::Batch& batch, std::int64_t step) {
    const at::NoGradGuard no_gradients;
    const at::Tensor all = logits(*teacher_, batch, 0, 2, step, false);
    seen_ = all.mean(0);
    const auto epoch = static_cast<double>(step / steps_per_epoch()),
               last = option("teacher_temperature_epochs") - 1;
    const double temperature =
        option("teacher_temperature_start") +
        (option("teacher_temperature") - option("teacher_temperature_start")) * std::min(1.0, epoch / last);
    return ((all - centre_) / temperature).softmax(1).chunk(2);
  }

  /// Log-probabilities of all views.
  std::vector<at::Tensor> learnt(const data::Batch& batch, std::int64_t step) {
    const std::int64_t small = std::ssize(batch.views) - 2;
    std::vector<at::Tensor> answers;
    for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{0, 2}, {2, small}}) {
      if (count == 0) continue;
      const at::Tensor all = logits(*student_, batch, first, count, step, true);
      for (const at::Tensor& view : (all / option("student_temperature")).log_softmax(1).chunk(count))
        answers.push_back(view);
    }
    return answers;
  }

  void update(std::int64_t step) {
    const at::NoGradGuard no_gradients;
    const std::int64_t held = count_of("freeze_last_layer") * steps_per_epoch();
    for (const auto& parameter : student_->named_parameters()) {
      const bool is_last_layer = parameter.key().starts_with("head.last_layer.");
      if (is_last_layer && step < held) continue;
      const at::Tensor& gradient = parameter.value().grad();
      const double norm = gradient.norm().item<double>();
      adamw(parameter.key(), parameter.value(),
            gradient * std::min(1.0, config_.optimizer.clip_norm / (norm + 1e-6)), learning_rate(step),
            weight_decay(step), is_last_layer ? step + 1 - held : step + 1);
    }
  }

  void follow(std::int64_t step) {
    const at::NoGradGuard no_gradients;
    const double keep = scheduled(option("teacher_momentum"), 1.0, step + 1, 0);
    auto followed = student_->named_parameters();
    for (auto& parameter : teacher_->named_parameters())
      parameter.value().copy_(parameter.value() * keep + followed[parameter.key()] * (1 - keep));
    const double momentum = option("centre_momentum");
    centre_.copy_(centre_ * momentum + seen_ * (1 - momentum));
  }

  std::shared_ptr<nn::DinoNetwork> student_, teacher_;
  at::Tensor centre_, seen_;
};

}  // namespace cohort::train
