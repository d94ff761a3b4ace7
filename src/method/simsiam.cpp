#include <array>
#include <memory>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/method/feature_deviation.h"
#include "cohort/method/two_view_losses.h"

#include "method/two_views.h"

namespace cohort::method {
namespace {

struct SimsiamOptions {
  std::int64_t hidden = 2048, outputs = 2048, bottleneck = 512;
  nn::HeadNorm batch_norm = nn::HeadNorm::group;

  template <class Visit>
  void fields(Visit& visit) {
    visit("hidden", hidden, "width of the projector's two hidden layers",
          config::Range<std::int64_t>{1, 1 << 20});
    visit("outputs", outputs, "width of what is predicted", config::Range<std::int64_t>{1, 1 << 20});
    visit("bottleneck", bottleneck, "width of the predictor's hidden layer",
          config::Range<std::int64_t>{1, 1 << 20});
    visit("batch_norm", batch_norm,
          "batch normalisation in projector and predictor, of the projector's output too: none, over the "
          "images of a group, or over all of a step");
  }
};

/// Simple siamese networks (Chen and He, arXiv 2011.10566, algorithm 1; docs/methods.md). Part: "model".
/// Views are computed one after the other. Metrics: "feature_std".
class Simsiam final : public Method {
 public:
  Simsiam(std::shared_ptr<nn::ProjectedEncoder> model, nn::Scope scope)
      : model_(std::move(model)), scope_(scope) {}

  std::vector<Part> parts() override { return {part_of("model", model_)}; }
  std::vector<NamedEncoder> encoders() override { return {encoder_of("model", *model_)}; }

  at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    std::array<nn::ProjectedEncoder::Output, 2> of;
    for (std::size_t view = 0; view < 2; ++view) {
      const nn::Conditions seen = conditions_of_view(batch, step, scope_, static_cast<std::int64_t>(view));
      of[view] = model_->forward(batch.views[view], seen);
      add_feature_deviation(metrics, of[view].features.detach(), seen.group);
    }
    const at::Tensor sum =
        simsiam_sum(of[0].rows, of[1].projection) + simsiam_sum(of[1].rows, of[0].projection);
    return sum / (2.0 * static_cast<double>(step.global_images));
  }

 private:
  std::shared_ptr<nn::ProjectedEncoder> model_;
  nn::Scope scope_;
};

std::unique_ptr<Method> make_simsiam(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<SimsiamOptions>(erased);
  auto model =
      std::make_shared<nn::ProjectedEncoder>(materials.encoder("image", /*classes=*/0),
                                             nn::ProjectionHeadShape{.hidden = options.hidden,
                                                                     .outputs = options.outputs,
                                                                     .layers = 3,
                                                                     .bias = nn::HeadBias::none,
                                                                     .batch_norm = options.batch_norm,
                                                                     .normalises_outputs = true},
                                             nn::ProjectionHeadShape{.hidden = options.bottleneck,
                                                                     .outputs = options.outputs,
                                                                     .bias = nn::HeadBias::outputs,
                                                                     .batch_norm = options.batch_norm});
  return std::make_unique<Simsiam>(std::move(model), materials.scope);
}

void check_simsiam(const config::Options& options, const Surroundings& run, const std::string& where) {
  check_head_norm(config::values_of<SimsiamOptions>(options).batch_norm, "simsiam", run, where);
  check_images_of_norm(config::values_of<SimsiamOptions>(options).batch_norm, "simsiam", run, where);
}

}  // namespace

Entry simsiam() {
  return {
      .name = "simsiam",
      .sentence = "without labels: one view of an image predicts the other's projection, which is held fixed",
      .section = "projector and predictor",
      .options = config::default_options<SimsiamOptions>,
      .traits = traits_of_two_views,
      .make = make_simsiam,
      .check = check_simsiam};
}

}  // namespace cohort::method
