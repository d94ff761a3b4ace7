#include <array>
#include <memory>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/schedule.h"
#include "cohort/method/feature_deviation.h"
#include "cohort/method/two_view_losses.h"

#include "method/two_views.h"

namespace cohort::method {
namespace {

struct ByolOptions {
  double momentum = 0.996;
  std::int64_t hidden = 4096, outputs = 256;
  nn::HeadNorm batch_norm = nn::HeadNorm::group;

  template <class Visit>
  void fields(Visit& visit) {
    visit("momentum", momentum, "part of the target that a step keeps at the start; a cosine brings it to 1",
          config::Range{0.0, 1.0});
    visit("hidden", hidden, "width of the hidden layers of projector and predictor",
          config::Range<std::int64_t>{1, 1 << 20});
    visit("outputs", outputs, "width of what is predicted", config::Range<std::int64_t>{1, 1 << 20});
    visit("batch_norm", batch_norm,
          "batch normalisation in projector and predictor: none, over the images of a group, or over all of "
          "a step");
  }
};

/// Bootstrap your own latent (Grill et al., arXiv 2006.07733; docs/methods.md). Parts: "online", trained, and
/// "target", which follows it but for the predictor that it lacks. Views are computed one after the other, by
/// both in training mode: each keeps running statistics of its own. Metrics: "feature_std" of the target.
class Byol final : public Method {
 public:
  Byol(std::shared_ptr<nn::ProjectedEncoder> online, std::shared_ptr<nn::ProjectedEncoder> target,
       const ByolOptions& options, nn::Scope scope)
      : online_(std::move(online)), target_(std::move(target)), options_(options), scope_(scope) {}

  std::vector<Part> parts() override {
    return {part_of("online", online_), part_of("target", target_, "online")};
  }
  std::vector<NamedEncoder> encoders() override {
    return {encoder_of("online", *online_), encoder_of("target", *target_)};
  }

  at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    std::array<at::Tensor, 2> predictions, targets;
    for (std::size_t view = 0; view < 2; ++view) {
      const nn::Conditions seen = conditions_of_view(batch, step, scope_, static_cast<std::int64_t>(view));
      predictions[view] = online_->forward(batch.views[view], seen).rows;
      const at::NoGradGuard no_grad;
      const auto output = target_->forward(batch.views[view], seen);
      targets[view] = output.rows;
      add_feature_deviation(metrics, output.features, seen.group);
    }
    const at::Tensor sum = byol_sum(predictions[0], targets[1]) + byol_sum(predictions[1], targets[0]);
    return sum / static_cast<double>(step.global_images);
  }

  double decay(const Step& step) const override {
    return warmup_cosine(options_.momentum, 1.0, step.step, step.total_steps, 0);
  }

 private:
  std::shared_ptr<nn::ProjectedEncoder> online_, target_;
  ByolOptions options_;
  nn::Scope scope_;
};

std::unique_ptr<Method> make_byol(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<ByolOptions>(erased);
  const nn::ProjectionHeadShape head{
      .hidden = options.hidden, .outputs = options.outputs, .batch_norm = options.batch_norm};
  auto online = std::make_shared<nn::ProjectedEncoder>(materials.encoder("image", /*classes=*/0), head, head);
  auto target = std::make_shared<nn::ProjectedEncoder>(materials.encoder("image", /*classes=*/0), head);
  return std::make_unique<Byol>(std::move(online), std::move(target), options, materials.scope);
}

void check_byol(const config::Options& options, const Surroundings& run, const std::string& where) {
  check_head_norm(config::values_of<ByolOptions>(options).batch_norm, "byol", run, where);
  check_images_of_norm(config::values_of<ByolOptions>(options).batch_norm, "byol", run, where);
}

}  // namespace

Entry byol() {
  return {
      .name = "byol",
      .sentence = "without labels: one view of an image predicts what a moving average makes of the other",
      .section = "heads and target",
      .options = config::default_options<ByolOptions>,
      .traits = traits_of_two_views,
      .make = make_byol,
      .check = check_byol};
}

}  // namespace cohort::method
