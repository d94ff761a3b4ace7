// Masked autoencoder: an encoder that sees some patches of an image, and a decoder that predicts the others
// (He et al., arXiv 2111.06377; formulas in docs/methods.md). Part: "model", an nn::MaskedAutoencoder. Which
// patches are removed is keyed by (seed, step, image).
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/trace.h"
#include "cohort/method/conditions.h"
#include "cohort/method/fourier_loss.h"
#include "cohort/method/mae_loss.h"
#include "cohort/method/mae_regularizer.h"
#include "cohort/method/pooled.h"
#include "cohort/method/registry.h"
#include "cohort/nn/masked_autoencoder.h"
#include "cohort/nn/step_state.h"

namespace cohort::method {
namespace {

struct MaeOptions {
  double mask_ratio = 0.75;
  bool norm_pix = true;
  Fourier fourier = Fourier::patch;
  double fourier_weight = 0.0;
  nn::DecoderShape decoder;
  MaeRegularizer regularizer;

  template <class Visit>
  void fields(Visit& visit) {
    visit("mask_ratio", mask_ratio, "part of an image's patches that the encoder does not see",
          config::Range{0.01, 0.99});
    visit("norm_pix", norm_pix, "predict each patch normalised by its own mean and deviation");
    visit("fourier", fourier,
          "of what the Fourier loss compares amplitudes: patch: each patch and channel; reference: the "
          "tokens' memory as maps of patches, as the published code has it; image: the whole image");
    visit("fourier_weight", fourier_weight,
          "part of the Fourier loss in the loss, beside that of the pixels; 0: none. 0.01 as published",
          config::Range{0.0, 1.0});
    visit("decoder_width", decoder.width, "width of a token in the decoder",
          config::Range<std::int64_t>{4, 1 << 16});
    visit("decoder_depth", decoder.depth, "transformer blocks of the decoder",
          config::Range<std::int64_t>{1, 1024});
    visit("decoder_heads", decoder.heads, "attention heads of the decoder",
          config::Range<std::int64_t>{1, 1024});
    visit(
        "regularizer", regularizer.kind,
        "what keeps the features of a step apart: tcr: their coding rate (M-MAE); u_mae: their mean squared "
        "similarity (U-MAE); matrix_kl: how far their covariance is from that of evenly spread ones");
    visit("regularizer_weight", regularizer.weight, "factor of the regularizer in the loss",
          config::Range{0.0, 1e6});
    visit("regularizer_mu", regularizer.mu, "of tcr: factor of the features' products",
          config::Range{1e-6, 1e6});
    visit("regularizer_feature", regularizer.feature,
          "feature of an image that it reads: cls_norm_twice: the cls token, with the encoder's norm once "
          "more, "
          "as M-MAE was published; cls: the cls token");
    visit("regularizer_centred", regularizer.centred, "subtract the mean over the step from its features");
  }
};

class Mae final : public Method {
 public:
  Mae(std::shared_ptr<nn::MaskedAutoencoder> model, const MaeOptions& options, nn::Scope scope)
      : model_(std::move(model)), options_(options), scope_(scope) {}

  std::vector<Part> parts() override { return {{"model", model_}}; }
  std::vector<NamedEncoder> encoders() override { return {{"model", model_->backbone(), "model"}}; }
  std::vector<nn::ParameterRule> rules() const override {
    return {{.pattern = "backbone.pos_embed", .trained = false}};
  }

  void prepare(std::span<const data::Batch> parts, const Step& step) override {
    pooled_.clear();
    if (!is_regularized() || parts.size() < 2) return;
    const TraceSpan span(TraceKind::forward, "features of all");
    const at::NoGradGuard no_gradients;
    const nn::RepeatedPass counted_later;
    std::vector<at::Tensor> features;
    for (const data::Batch& part : parts) features.push_back(feature_of(encode(part, step, true).latent));
    pool(at::cat(features), step);
  }

  at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    const Seen seen = look_at(batch, step, /*training=*/true);
    const at::Tensor loss = reconstruction_loss(batch, step, seen);
    return is_regularized() ? loss + regularizer_share(seen.latent, step, metrics) : loss;
  }

  std::optional<Pictures> pictures(const data::Batch& batch, const Step& step) override {
    const at::NoGradGuard no_gradients;
    const at::Tensor& images = batch.views.front();
    const Seen seen = look_at(batch, step, /*training=*/false);
    const at::Tensor patches = nn::patches_of(images, patch_size());
    const at::Tensor removed = seen.masking.mask.unsqueeze(2);
    at::Tensor predicted = seen.predicted.to(at::kFloat);
    if (options_.norm_pix) predicted = with_statistics_of(patches, predicted);
    const auto picture = [&](const at::Tensor& of) {
      return nn::images_of(of, model_->backbone()->table_grid(), patch_size());
    };
    return Pictures{
        "an image, what the encoder sees of it, and what the decoder made of it",
        {images, picture(patches * (1 - removed)), picture(patches * (1 - removed) + predicted * removed)}};
  }

 private:
  struct Seen {
    nn::Masking masking;
    nn::Conditions conditions;
    at::Tensor latent;     // [B, T, D]
    at::Tensor predicted;  // [B, N, P² C]
  };

  [[nodiscard]] std::int64_t patch_size() const { return model_->backbone()->shape().patch_size; }
  [[nodiscard]] bool is_regularized() const {
    return options_.regularizer.kind != MaeRegularizer::Kind::none && options_.regularizer.weight > 0;
  }

  at::Tensor reconstruction_loss(const data::Batch& batch, const Step& step, const Seen& seen) const {
    const at::Tensor target = reconstruction_target(batch.views.front(), patch_size(), options_.norm_pix);
    const std::int64_t removed = seen.masking.restore.size(1) - seen.masking.kept.size(1);
    return (errors_of(seen.predicted, target) * seen.masking.mask).sum() /
           static_cast<double>(removed * step.global_images);
  }

  // [B, N]
  at::Tensor errors_of(const at::Tensor& predicted, const at::Tensor& target) const {
    const at::Tensor pixels = reconstruction_errors(predicted, target);
    const double weight = options_.fourier_weight;
    if (weight == 0.0) return pixels;
    const nn::PatchGrid grid = model_->backbone()->table_grid();
    return (1.0 - weight) * pixels +
           weight * fourier_errors(predicted, target, options_.fourier, grid, patch_size());
  }

  at::Tensor feature_of(const at::Tensor& latent) {
    return regularized_feature(*model_->backbone(), latent, options_.regularizer.feature);
  }

  void pool(const at::Tensor& features, const Step& step) {
    pooled_.pool(features, step.ranks, [&](const at::Tensor& all, Metrics& metrics) {
      const at::Tensor value = regularizer_of(all, options_.regularizer);
      metrics.add("regularizer", value.item<double>(), 1);
      return options_.regularizer.weight * value;
    });
  }

  at::Tensor regularizer_share(const at::Tensor& latent, const Step& step, Metrics& metrics) {
    const at::Tensor features = feature_of(latent).to(at::kFloat);
    if (pooled_.is_empty()) pool(features, step);
    return pooled_.share(features, metrics);
  }

  Seen encode(const data::Batch& batch, const Step& step, bool training) {
    const at::Tensor& images = batch.views.front();
    const nn::Conditions seen = conditions(batch, step, scope_, 0, 1, training);
    const std::int64_t patches = model_->backbone()->table_grid().count();
    const at::Tensor uniforms = nn::masking_uniforms(patches, seen, /*copy=*/0, images.device());
    const nn::Masking masking = nn::random_masking(uniforms, options_.mask_ratio);
    return {masking, seen, model_->encode(images, masking, seen), {}};
  }

  Seen look_at(const data::Batch& batch, const Step& step, bool training) {
    Seen seen = encode(batch, step, training);
    seen.predicted = model_->decode(seen.latent, seen.masking.restore, seen.conditions);
    return seen;
  }

  std::shared_ptr<nn::MaskedAutoencoder> model_;
  MaeOptions options_;
  nn::Scope scope_;
  RowsOfAll pooled_;  // features, of a step that is regularized
};

void check_masking(const nn::VisionTransformer& encoder, const MaeOptions& options) {
  const std::int64_t patches = encoder.table_grid().count();
  const double ratio = options.mask_ratio;
  const std::int64_t kept = nn::kept_patches(patches, ratio);
  if (kept > 0 && kept < patches) return;
  throw UsageError({fmt::format("a ratio of {:g} leaves {} of an image's {} patches", ratio, kept, patches),
                    "mae.mask_ratio", "choose a ratio that keeps some and removes some, or a smaller patch"});
}

void check_target(const nn::VitShape& shape, const MaeOptions& options) {
  if (!options.norm_pix || shape.patch_size > 1 || shape.channels > 1) return;
  throw UsageError({"mae.norm_pix divides by the deviation of a patch's values, and a patch is one value",
                    "mae.norm_pix", "set mae.norm_pix=false, or a larger model.patch_size"});
}

void check_fourier(const nn::VisionTransformer& encoder, const MaeOptions& options) {
  const std::int64_t patches = encoder.table_grid().count();
  if (options.fourier_weight == 0.0 || options.fourier != Fourier::reference || is_square(patches)) return;
  throw UsageError({fmt::format("mae.fourier=reference needs a square number of patches, not {}", patches),
                    "mae.fourier", "set mae.fourier=patch, or choose square images"});
}

std::shared_ptr<nn::VisionTransformer> vision_transformer(const std::shared_ptr<nn::Encoder>& encoder) {
  if (auto transformer = std::dynamic_pointer_cast<nn::VisionTransformer>(encoder)) return transformer;
  throw UsageError({fmt::format("mae removes patches, and a {} has none", encoder->traits().kind), "method",
                    "choose a vision transformer, model.name=vit_small, or method=simclr"});
}

std::unique_ptr<Method> make_mae(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<MaeOptions>(erased);
  const auto backbone = vision_transformer(materials.encoder("image", /*classes=*/0));
  check_masking(*backbone, options);
  check_target(backbone->shape(), options);
  check_fourier(*backbone, options);
  auto model = std::make_shared<nn::MaskedAutoencoder>(backbone, options.decoder);
  nn::discard_values(*model);
  return std::make_unique<Mae>(std::move(model), options, materials.scope);
}

void check_mae(const config::Options& /*options*/, const Surroundings& run, const std::string& where) {
  if (!run.channel_sampling) return;
  throw UsageError({"model.channel_sampling and method=mae do not go together: all channels are predicted",
                    where, "set model.channel_sampling=false"});
}

}  // namespace

Entry mae() {
  return {.name = "mae",
          .sentence = "by predicting patches that were masked",
          .section = "masking, decoder and target",
          .options = config::default_options<MaeOptions>,
          .traits = [](const config::Options&) { return Traits{}; },
          .make = make_mae,
          .check = check_mae};
}

}  // namespace cohort::method
