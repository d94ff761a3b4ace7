#pragma once
#include <array>
#include <span>

#include <ATen/core/Tensor.h>

#include "cohort/config/field.h"
#include "cohort/nn/vit.h"

namespace cohort::method {

/// What is added to the loss of MAE so that features of different images differ.
struct MaeRegularizer {
  enum class Kind {
    none,
    tcr,        ///< M-MAE: minus the coding rate
    u_mae,      ///< U-MAE: mean squared similarity
    matrix_kl,  ///< matrix KL of I/D and the covariance
  };
  enum class Feature {
    cls_norm_twice,  ///< the encoder's norm once more, as published
    cls,
  };
  Kind kind = Kind::none;
  double weight = 0.01, mu = 1.0;
  Feature feature = Feature::cls_norm_twice;
  bool centred = false;
};
inline std::span<const config::EnumName<MaeRegularizer::Kind>> enum_names(MaeRegularizer::Kind) {
  using Kind = MaeRegularizer::Kind;
  static constexpr std::array<config::EnumName<Kind>, 4> names{
      {{Kind::none, "none"}, {Kind::tcr, "tcr"}, {Kind::u_mae, "u_mae"}, {Kind::matrix_kl, "matrix_kl"}}};
  return names;
}
inline std::span<const config::EnumName<MaeRegularizer::Feature>> enum_names(MaeRegularizer::Feature) {
  using Feature = MaeRegularizer::Feature;
  static constexpr std::array<config::EnumName<Feature>, 2> names{
      {{Feature::cls_norm_twice, "cls_norm_twice"}, {Feature::cls, "cls"}}};
  return names;
}

/// [B, D] of tokens [B, T, D] behind the encoder's norm.
at::Tensor regularized_feature(nn::VisionTransformer& encoder, const at::Tensor& tokens,
                               MaeRegularizer::Feature feature);

/// Scalar, without the weight, differentiable, of the features F [B, D] of all images of a step, f32,
/// computed in f64; rows are first divided by their length, then centred if asked for.
///   tcr (Tan et al., arXiv 2309.17281):   -log det(I + mu/D F^T F)
///   u_mae (Zhang et al., arXiv 2210.08344): mean over all pairs, i = j included, of (f_i f_j)^2
///   matrix_kl (arXiv 2305.17326):         MKL(I/D || F^T F / B), with 1e-6 I added to both
at::Tensor regularizer_of(const at::Tensor& features, const MaeRegularizer& options);

}  // namespace cohort::method
