#include <memory>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/method/two_view_losses.h"

#include "method/view_rows.h"

namespace cohort::method {
namespace {

struct SpectralContrastiveOptions {
  double mu = 1;
  ProjectorOptions projector;

  template <class Visit>
  void fields(Visit& visit) {
    visit("mu", mu, "square of the greatest length that a row keeps", config::Range{1e-3, 1e3});
    projector.fields(visit);
  }
};

/// Spectral decomposition of the graph of views (HaoChen et al., arXiv 2106.04156; docs/methods.md).
class SpectralContrastive final : public ViewRows {
 public:
  SpectralContrastive(std::shared_ptr<nn::ProjectedEncoder> model, const SpectralContrastiveOptions& options,
                      nn::Scope scope)
      : ViewRows(std::move(model), scope), options_(options) {}

  at::Tensor loss_of_all(const at::Tensor& rows, const Step& /*step*/, Metrics& /*metrics*/) override {
    return spectral_contrastive(rows.select(1, 0), rows.select(1, 1), options_.mu);
  }

 private:
  SpectralContrastiveOptions options_;
};

std::unique_ptr<Method> make_spectral_contrastive(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<SpectralContrastiveOptions>(erased);
  return std::make_unique<SpectralContrastive>(projected_encoder(options.projector, materials), options,
                                               materials.scope);
}

void check_spectral_contrastive(const config::Options& options, const Surroundings& run,
                                const std::string& where) {
  check_projector(config::values_of<SpectralContrastiveOptions>(options).projector, "spectral_contrastive",
                  run, where);
}

}  // namespace

Entry spectral_contrastive() {
  return {.name = "spectral_contrastive",
          .sentence = "without labels: views of an image are similar, those of two images are orthogonal",
          .section = "projector and loss",
          .options = config::default_options<SpectralContrastiveOptions>,
          .traits = traits_of_two_views,
          .make = make_spectral_contrastive,
          .check = check_spectral_contrastive};
}

}  // namespace cohort::method
