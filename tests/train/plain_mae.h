#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/augment/views.h"
#include "cohort/core/random.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/masked_autoencoder.h"
#include "cohort/nn/masking.h"
#include "cohort/nn/vit.h"

#include "plain_run.h"
#include "support/options.h"

namespace cohort::train {

/// Masked autoencoding (arXiv 2111.06377, section 3, and the published code), without clipping.
class PlainMae final : public PlainRun {
 public:
  explicit PlainMae(const RunConfig& config)
      : PlainRun(config),
        model_(std::make_shared<nn::VisionTransformer>(shape(0), config.seed),
               {count_of("decoder_width"), count_of("decoder_depth"), count_of("decoder_heads")}) {
    nn::initialise(model_, config.seed);
    remember("/model/", model_, true, {kTable});
  }

  void step(std::int64_t step) override {
    const auto views =
        augment::training_view(config_.augment.whole, description(), config_.data.normalisation, config_.seed,
                               step / steps_per_epoch());
    const data::Batch batch = this->batch(step, *views);
    const at::Tensor& images = batch.views[0];
    const nn::Masking masking = masking_of(batch, step);
    const at::Tensor predicted = model_.forward(images, masking,
                                                {.context = batch.context,
                                                 .group = batch.group,
                                                 .sample = batch.sample,
                                                 .seed = config_.seed,
                                                 .step = step,
                                                 .training = true});
    // Unfolding has a patch's values channel by channel; MAE has them pixel by pixel.
    const std::int64_t patch = config_.model.patch_size, channels = images.size(1);
    at::Tensor target = at::im2col(images, {patch, patch}, {1, 1}, {0, 0}, {patch, patch}).transpose(1, 2);
    target = target.unflatten(2, {channels, patch * patch}).transpose(2, 3).flatten(2);
    const at::Tensor centred = target - target.mean(2, true);
    const auto values = static_cast<double>(target.size(2));
    target = centred / (centred.square().sum(2, true) / (values - 1) + 1e-6).sqrt();
    const at::Tensor errors = (predicted - target).square().sum(2) / values;
    model_.zero_grad();
    errors.masked_select(masking.mask.gt(0)).mean().backward();
    update(step);
  }

 private:
  static constexpr const char* kTable = "backbone.pos_embed";

  [[nodiscard]] std::int64_t count_of(const std::string& key) const {
    return static_cast<std::int64_t>(testing::number_of(config_, "mae." + key));
  }

  /// The patches of an image by their numbers, smallest first; a quarter of them is kept.
  [[nodiscard]] nn::Masking masking_of(const data::Batch& batch, std::int64_t step) const {
    const std::int64_t patches = model_.backbone()->table_grid().count(), kept = patches / 4;
    nn::Masking masking{{}, {}, at::ones({batch.sample.size(0), patches})};
    std::vector<at::Tensor> orders;
    for (std::int64_t i = 0; i < batch.sample.size(0); ++i) {
      RandomStream stream(
          {config_.seed, Purpose::masking, step, batch.sample[i].item<std::int64_t>(), /*layer=*/0});
      std::vector<float> uniform(static_cast<std::size_t>(patches));
      for (float& value : uniform) value = stream.uniform();
      orders.push_back(at::argsort(at::tensor(uniform)));
      masking.mask[i].index_fill_(0, orders.back().narrow(0, 0, kept), 0);
    }
    const at::Tensor order = at::stack(orders);
    masking.kept = order.narrow(1, 0, kept);
    masking.restore = at::argsort(order);
    return masking;
  }

  void update(std::int64_t step) {
    const at::NoGradGuard no_gradients;
    for (const auto& parameter : model_.named_parameters()) {
      if (parameter.key() == kTable) continue;
      const at::Tensor& gradient = parameter.value().grad();
      adamw(parameter.key(), parameter.value(),
            gradient.defined() ? gradient : at::zeros_like(parameter.value()), learning_rate(step),
            weight_decay(step), step + 1);
    }
  }

  nn::MaskedAutoencoder model_;
};

}  // namespace cohort::train
