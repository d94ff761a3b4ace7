#include <memory>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/method/two_view_losses.h"

#include "method/view_rows.h"

namespace cohort::method {
namespace {

struct BarlowTwinsOptions {
  double lambda = 0.0051;
  ProjectorOptions projector{.hidden = 8192, .outputs = 8192};

  template <class Visit>
  void fields(Visit& visit) {
    visit("lambda", lambda, "weight of correlations between different outputs", config::Range{0.0, 10.0});
    projector.fields(visit);
  }
};

/// Redundancy reduction (Zbontar et al., arXiv 2103.03230; docs/methods.md).
class BarlowTwins final : public ViewRows {
 public:
  BarlowTwins(std::shared_ptr<nn::ProjectedEncoder> model, double lambda, nn::Scope scope)
      : ViewRows(std::move(model), scope), lambda_(lambda) {}

  at::Tensor loss_of_all(const at::Tensor& rows, const Step& /*step*/, Metrics& /*metrics*/) override {
    return barlow_twins(rows.select(1, 0), rows.select(1, 1), lambda_);
  }

 private:
  double lambda_;
};

std::unique_ptr<Method> make_barlow_twins(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<BarlowTwinsOptions>(erased);
  return std::make_unique<BarlowTwins>(projected_encoder(options.projector, materials), options.lambda,
                                       materials.scope);
}

void check_barlow_twins(const config::Options& options, const Surroundings& run, const std::string& where) {
  check_projector(config::values_of<BarlowTwinsOptions>(options).projector, "barlow_twins", run, where);
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
