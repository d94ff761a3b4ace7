#include <memory>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/method/feature_deviation.h"
#include "cohort/method/pooled.h"
#include "cohort/method/two_view_losses.h"

#include "method/two_views.h"

namespace cohort::method {
namespace {

struct SimclrOptions {
  double temperature = 0.1;
  std::int64_t hidden = 2048, outputs = 128;
  nn::HeadNorm batch_norm = nn::HeadNorm::group;

  template <class Visit>
  void fields(Visit& visit) {
    visit("temperature", temperature, "divides cosines of views", config::Range{0.001, 10.0});
    visit("hidden", hidden, "width of the projector's hidden layer", config::Range<std::int64_t>{1, 1 << 20});
    visit("outputs", outputs, "width of what is compared", config::Range<std::int64_t>{1, 1 << 20});
    visit("batch_norm", batch_norm,
          "batch normalisation in the projector: none, over the images of a group, or over all of a step");
  }
};

/// Contrast of two views (Chen et al., arXiv 2002.05709; docs/methods.md). Part: "model". Both views of an
/// image are computed in one pass, so that statistics of contexts and of batch normalisation go over both.
/// Metrics: "feature_std", "contrast_accuracy" (the other view of an image is the most similar of all).
class Simclr final : public PooledMethod {
 public:
  Simclr(std::shared_ptr<nn::ProjectedEncoder> model, const SimclrOptions& options, nn::Scope scope)
      : model_(std::move(model)), options_(options), scope_(scope) {}

  std::vector<Part> parts() override { return {part_of("model", model_)}; }
  std::vector<NamedEncoder> encoders() override { return {encoder_of("model", *model_)}; }

  at::Tensor embed(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    const nn::Conditions seen = conditions(batch, step, scope_, 0, 2, /*training=*/true);
    const auto output = model_->forward(at::cat({batch.views[0], batch.views[1]}), seen);
    add_feature_deviation(metrics, output.features.detach(), seen.group);
    return output.rows.view({2, -1, options_.outputs}).transpose(0, 1);  // [b, 2, outputs]
  }

  at::Tensor loss_of_all(const at::Tensor& rows, const Step& /*step*/, Metrics& metrics) override {
    const at::Tensor z1 = rows.select(1, 0), z2 = rows.select(1, 1);
    metrics.add("contrast_accuracy", other_view_found(z1.detach(), z2.detach()), 2 * rows.size(0));
    return nt_xent(z1, z2, options_.temperature);
  }

 private:
  std::shared_ptr<nn::ProjectedEncoder> model_;
  SimclrOptions options_;
  nn::Scope scope_;
};

std::unique_ptr<Method> make_simclr(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<SimclrOptions>(erased);
  auto model = std::make_shared<nn::ProjectedEncoder>(
      materials.encoder("image", /*classes=*/0), nn::ProjectionHeadShape{.hidden = options.hidden,
                                                                         .outputs = options.outputs,
                                                                         .bias = nn::HeadBias::none,
                                                                         .batch_norm = options.batch_norm});
  return std::make_unique<Simclr>(std::move(model), options, materials.scope);
}

void check_simclr(const config::Options& options, const Surroundings& run, const std::string& where) {
  check_head_norm(config::values_of<SimclrOptions>(options).batch_norm, "simclr", run, where);
}

}  // namespace

Entry simclr() {
  return {.name = "simclr",
          .sentence = "without labels: two views of an image attract each other, those of others repel",
          .section = "projector and loss",
          .options = config::default_options<SimclrOptions>,
          .traits = traits_of_two_views,
          .make = make_simclr,
          .check = check_simclr};
}

}  // namespace cohort::method
