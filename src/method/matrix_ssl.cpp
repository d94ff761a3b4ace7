#include <memory>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/method/two_view_losses.h"

#include "method/view_rows.h"

namespace cohort::method {
namespace {

struct MatrixSslOptions {
  double gamma = 1, epsilon = 1e-3;
  ProjectorOptions projector{.outputs = 512};

  template <class Visit>
  void fields(Visit& visit) {
    visit("gamma", gamma, "weight of the cross-entropy between the covariances of both views",
          config::Range{0.0, 100.0});
    visit("epsilon", epsilon, "added to the diagonals of covariances; smaller eigenvalues count as it",
          config::Range{1e-8, 1.0});
    projector.fields(visit);
  }
};

/// Uniformity and alignment of matrices, as the paper has them (Zhang et al., arXiv 2305.17326;
/// docs/methods.md).
class MatrixSsl final : public ViewRows {
 public:
  MatrixSsl(std::shared_ptr<nn::ProjectedEncoder> model, const MatrixSslOptions& options, nn::Scope scope)
      : ViewRows(std::move(model), scope), options_(options) {}

  at::Tensor loss_of_all(const at::Tensor& rows, const Step& /*step*/, Metrics& /*metrics*/) override {
    return matrix_ssl(rows.select(1, 0), rows.select(1, 1), options_.gamma, options_.epsilon);
  }

 private:
  MatrixSslOptions options_;
};

std::unique_ptr<Method> make_matrix_ssl(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<MatrixSslOptions>(erased);
  return std::make_unique<MatrixSsl>(projected_encoder(options.projector, materials), options,
                                     materials.scope);
}

void check_matrix_ssl(const config::Options& options, const Surroundings& run, const std::string& where) {
  check_projector(config::values_of<MatrixSslOptions>(options).projector, "matrix_ssl", run, where);
}

}  // namespace

Entry matrix_ssl() {
  return {.name = "matrix_ssl",
          .sentence = "without labels: the covariance of two views is that of rows in all directions alike",
          .section = "projector and loss",
          .options = config::default_options<MatrixSslOptions>,
          .traits = traits_of_two_views,
          .make = make_matrix_ssl,
          .check = check_matrix_ssl};
}

}  // namespace cohort::method
