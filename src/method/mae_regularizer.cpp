#include "cohort/method/mae_regularizer.h"

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/method/matrix_information.h"

namespace cohort::method {
namespace {

constexpr double kRidge = 1e-6;

at::Tensor value_of(const at::Tensor& rows, const MaeRegularizer& options) {
  const at::Tensor covariance = at::mm(rows.t(), rows) / static_cast<double>(rows.size(0));
  switch (options.kind) {
    case MaeRegularizer::Kind::tcr:
      return -coding_rate(rows, options.mu);
    case MaeRegularizer::Kind::u_mae:
      return at::square(covariance).sum();  // the sum over pairs is that over entries of F^T F
    case MaeRegularizer::Kind::matrix_kl: {
      const auto width = static_cast<double>(rows.size(1));
      return matrix_kl(at::eye(rows.size(1), rows.options()) / width, covariance, kRidge);
    }
    case MaeRegularizer::Kind::none:
      break;
  }
  COHORT_CHECK(false, "no regularizer");
}

}  // namespace

at::Tensor regularized_feature(nn::VisionTransformer& encoder, const at::Tensor& tokens,
                               MaeRegularizer::Feature feature) {
  const bool is_plain = feature == MaeRegularizer::Feature::cls;
  const at::Tensor seen =
      is_plain ? tokens : encoder.finish(tokens.narrow(1, 0, 1), nn::Encoder::tokens).tokens;
  return seen.select(1, 0);
}

at::Tensor regularizer_of(const at::Tensor& features, const MaeRegularizer& options) {
  const at::Tensor rows = unit_rows(features.to(at::kDouble));
  return value_of(options.centred ? rows - rows.mean(0) : rows, options).to(features.scalar_type());
}

}  // namespace cohort::method
