#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/method/feature_deviation.h"
#include "cohort/method/pooled.h"

#include "method/two_views.h"

namespace cohort::method {

/// A method whose loss is one of the rows of both views of all images of a step, [B, 2, outputs], and of
/// nothing else. Part: "model", an encoder with a projector. Views are computed one after the other. Metrics:
/// "feature_std".
class ViewRows : public PooledMethod {
 public:
  ViewRows(std::shared_ptr<nn::ProjectedEncoder> model, nn::Scope scope)
      : model_(std::move(model)), scope_(scope) {}

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
    return at::stack(rows, 1);
  }

 private:
  std::shared_ptr<nn::ProjectedEncoder> model_;
  nn::Scope scope_;
};

/// The projector of Barlow Twins, which others of these methods have too: three layers without biases before
/// their batch normalisation.
struct ProjectorOptions {
  std::int64_t hidden = 2048, outputs = 2048;
  nn::HeadNorm batch_norm = nn::HeadNorm::group;

  template <class Visit>
  void fields(Visit& visit) {
    visit("hidden", hidden, "width of the projector's two hidden layers",
          config::Range<std::int64_t>{1, 1 << 20});
    visit("outputs", outputs, "width of what is compared", config::Range<std::int64_t>{1, 1 << 20});
    visit("batch_norm", batch_norm,
          "batch normalisation in the projector: none, over the images of a group, or over all of a step");
  }
};

inline std::shared_ptr<nn::ProjectedEncoder> projected_encoder(const ProjectorOptions& options,
                                                               const Materials& materials) {
  return std::make_shared<nn::ProjectedEncoder>(materials.encoder("image", /*classes=*/0),
                                                nn::ProjectionHeadShape{.hidden = options.hidden,
                                                                        .outputs = options.outputs,
                                                                        .layers = 3,
                                                                        .bias = nn::HeadBias::none,
                                                                        .batch_norm = options.batch_norm});
}

/// Throws UsageError: batch normalisation that the run cannot have.
inline void check_projector(const ProjectorOptions& options, const std::string& method,
                            const Surroundings& run, const std::string& where) {
  check_head_norm(options.batch_norm, method, run, where);
  check_images_of_norm(options.batch_norm, method, run, where);
}

}  // namespace cohort::method
