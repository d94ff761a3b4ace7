#include <memory>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/method/feature_deviation.h"
#include "cohort/method/pooled.h"
#include "cohort/method/two_view_losses.h"

#include "method/two_views.h"

namespace cohort::method {
namespace {

struct BarlowTwinsOptions {
  double lambda = 0.0051;
  std::int64_t hidden = 8192, outputs = 8192;
  nn::HeadNorm batch_norm = nn::HeadNorm::group;

  template <class Visit>
  void fields(Visit& visit) {
    visit("lambda", lambda, "weight of correlations between different outputs", config::Range{0.0, 10.0});
    visit("hidden", hidden, "width of the projector's two hidden layers",
          config::Range<std::int64_t>{1, 1 << 20});
    visit("outputs", outputs, "width of what is compared", config::Range<std::int64_t>{1, 1 << 20});
    visit("batch_norm", batch_norm,
          "batch normalisation in the projector: none, over the images of a group, or over all of a step");
  }
};

/// Redundancy reduction (Zbontar et al., arXiv 2103.03230; docs/methods.md). Part: "model". Views are
/// computed one after the other. Metrics: "feature_std".
class BarlowTwins final : public PooledMethod {
 public:
  BarlowTwins(std::shared_ptr<nn::ProjectedEncoder> model, const BarlowTwinsOptions& options, nn::Scope scope)
      : model_(std::move(model)), options_(options), scope_(scope) {}

  std::vector<Part> parts() override { return {part_of("model", model_)}; }
  std::vector<NamedEncoder> encoders() override { return {encoder_of("model", *model_)}; }

  at::Tensor embed(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    std::vector<at::Tensor> rows;
    for (const std::int64_t view : {0, 1}) {
      const nn::Conditions seen = conditions_of_view(batch, step, scope_, view);
      const auto output = model_->forward(batch.views[static_cast<std::size_t>(view)], seen);
      add_feature_deviation(metrics, output.features.detach(), seen.group);
      rows.push_back(output.rows);
    }
    return at::stack(rows, 1);  // [b, 2, outputs]
  }

  at::Tensor loss_of_all(const at::Tensor& rows, const Step& /*step*/, Metrics& /*metrics*/) override {
    return barlow_twins(rows.select(1, 0), rows.select(1, 1), options_.lambda);
  }

 private:
  std::shared_ptr<nn::ProjectedEncoder> model_;
  BarlowTwinsOptions options_;
  nn::Scope scope_;
};

std::unique_ptr<Method> make_barlow_twins(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<BarlowTwinsOptions>(erased);
  auto model = std::make_shared<nn::ProjectedEncoder>(
      materials.encoder("image", /*classes=*/0), nn::ProjectionHeadShape{.hidden = options.hidden,
                                                                         .outputs = options.outputs,
                                                                         .layers = 3,
                                                                         .bias = nn::HeadBias::none,
                                                                         .batch_norm = options.batch_norm});
  return std::make_unique<BarlowTwins>(std::move(model), options, materials.scope);
}

void check_barlow_twins(const config::Options& options, const Surroundings& run, const std::string& where) {
  check_head_norm(config::values_of<BarlowTwinsOptions>(options).batch_norm, "barlow_twins", run, where);
  check_images_of_norm(config::values_of<BarlowTwinsOptions>(options).batch_norm, "barlow_twins", run, where);
}

}  // namespace

Entry barlow_twins() {
  return {.name = "barlow_twins",
          .sentence =
              "without labels: outputs agree between two views of an image and are independent of "
              "each other",
          .section = "projector and loss",
          .options = config::default_options<BarlowTwinsOptions>,
          .traits = traits_of_two_views,
          .make = make_barlow_twins,
          .check = check_barlow_twins};
}

}  // namespace cohort::method
