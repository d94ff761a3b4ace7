#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <torch/nn/module.h>

#include "cohort/config/field.h"
#include "cohort/nn/batch_norm.h"
#include "cohort/nn/encoder.h"

namespace cohort::nn {

/// What stands behind the hidden linear layers of a head.
enum class HeadNorm {
  none,
  group,  ///< batch normalisation over the images of a group
  all,    ///< over those of all ranks in one pass: no micro-batches
};
std::span<const config::EnumName<HeadNorm>> enum_names(HeadNorm);

/// Which linear layers of a head have a bias.
enum class HeadBias { none, outputs, all };

/// Sizes of a perceptron behind an encoder.
struct ProjectionHeadShape {
  std::int64_t width = 0, hidden = 0, outputs = 0;
  std::int64_t layers = 2;  ///< linear ones, of which all but the last are hidden
  HeadBias bias = HeadBias::all;
  HeadNorm batch_norm = HeadNorm::group;
  bool normalises_outputs = false;  ///< as hidden layers, without parameters and ReLU
};

/// Projector or predictor of methods that learn from two views: Linear, BatchNorm, ReLU, …, Linear (SimCLR,
/// arXiv 2002.05709, section 2.1; BYOL, arXiv 2006.07733, section 3.2; Barlow Twins, arXiv 2103.03230,
/// section 2.2; SimSiam, arXiv 2011.10566, section 3). Parameters have the names of a torch.nn.Sequential: 0,
/// 1, 3 of two layers, 0 and 2 without batch normalisation. Values are uninitialised; running statistics
/// begin at mean 0 and variance 1.
class ProjectionHead final : public torch::nn::Module {
 public:
  explicit ProjectionHead(const ProjectionHeadShape& shape);
  /// [B, width] -> [B, outputs]. Collective in HeadNorm::all, forward and backward. Errors: BatchNorm.
  at::Tensor forward(const at::Tensor& features, const Conditions& conditions);

 private:
  std::vector<std::shared_ptr<torch::nn::Module>> linears_;
  std::vector<std::shared_ptr<BatchNorm>> norms_;  // none, or those of the first linear layers
};

/// An encoder, a projector and, if its shape is given, a predictor as one model. Units are the predictor, if
/// there is one, and those of the encoder; the projector stands in the root unit, beside the encoder's last
/// norm. Parameters are called backbone.…, projector.… and predictor.….
class ProjectedEncoder final : public UnitModel {
 public:
  /// The heads' values are uninitialised: initialise() or discard_values() comes next. Their widths are those
  /// of what goes in.
  ProjectedEncoder(std::shared_ptr<Encoder> encoder, ProjectionHeadShape projector,
                   std::optional<ProjectionHeadShape> predictor = std::nullopt);

  [[nodiscard]] const std::shared_ptr<Encoder>& backbone() const noexcept { return backbone_; }
  struct Output {
    at::Tensor features;    ///< [B, D]
    at::Tensor projection;  ///< [B, outputs] of the projector, f32
    at::Tensor rows;        ///< [B, outputs] of the last head, f32
  };
  /// Of `images` [B, C, h, w]. Collective where the encoder and the heads are.
  Output forward(const at::Tensor& images, const Conditions& conditions);

 private:
  std::shared_ptr<Encoder> backbone_;
  std::shared_ptr<ProjectionHead> projector_, predictor_;  ///< no predictor: null
};

}  // namespace cohort::nn
