#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "cohort/nn/encoder.h"
#include "cohort/nn/norm_scope.h"
#include "cohort/nn/unit_model.h"

namespace cohort::nn {

class YoloScale;

/// Channels of the YOLOv3 head and of what it reads.
struct YoloShape {
  static constexpr std::size_t kScales = 3;
  struct Scale {
    std::int64_t narrow = 0, wide = 0;  ///< of the convolutions of 1 x 1 and of 3 x 3
    std::int64_t upwards = 0;           ///< of what goes on to the next finer scale; 0: nothing
  };
  std::vector<std::int64_t> inputs;     ///< of the encoder's maps, fine to coarse: one, or three and more
  std::array<Scale, kScales> scales{};  ///< coarse to fine
  std::int64_t outputs = 0;             ///< of each place
  NormScope batch_norm = NormScope::group;
};

/// As published: narrow `width`, half and a quarter of it, wide twice as much, upwards half as much (512:
/// 512/1024, 256/512, 128/256).
YoloShape yolo_shape(const EncoderTraits& encoder, std::int64_t width, std::int64_t outputs);

/// YOLOv3 head (Redmon and Farhadi, arXiv 1804.02767) on the three coarsest maps, as LoVT's evaluation has it
/// (arXiv 2112.02889, published code and names). Per scale six convolutions, alternately 1 x 1 and 3 x 3,
/// each with BatchNorm and LeakyReLU (0.1) behind it, and one of 1 x 1, "conv_out"; what the fifth one makes
/// goes through another convolution of 1 x 1 ("cbl") and, at twice its size (nearest), stands before the next
/// finer map. An encoder with one map, a vision transformer, has a simple pyramid (Li et al., arXiv
/// 2203.16527, section 3): the map at 2, 1 and ½ of its size, by a transposed convolution of 2 x 2
/// ("double"), as it is, and by max pooling. Batch normalisation as everywhere (batch_norm.h): over the
/// images of a group. Values of its parameters are uninitialised.
class YoloHead final : public torch::nn::Module {
 public:
  using Run = std::function<Tensors(std::size_t unit, const Tensors& inputs, const UnitRunner::Body& body)>;

  explicit YoloHead(const YoloShape& shape);

  /// `maps` fine to coarse, of YoloShape::inputs. Coarse to fine [B, outputs, h, w]. `run`: UnitModel::run()
  /// of what the head is a part of. Collective where its batch normalisation is.
  Tensors forward(const std::vector<FeatureMap>& maps, const Conditions& conditions, const Run& run);
  /// Modules of each unit: a scale, and the convolution that leads to it.
  [[nodiscard]] UnitModel::Units units() const;

 private:
  [[nodiscard]] Tensors three_maps(const std::vector<FeatureMap>& maps) const;

  std::vector<std::shared_ptr<YoloScale>> scales_;  ///< coarse to fine
  std::shared_ptr<torch::nn::Module> double_;       ///< of one map; else null
};

/// An encoder and a YOLOv3 head as one model. Parameters are called backbone.… and head.…. Not copyable. One
/// thread at a time.
class Detector final : public UnitModel {
 public:
  Detector(std::shared_ptr<Encoder> encoder, const YoloShape& shape);

  [[nodiscard]] const std::shared_ptr<Encoder>& backbone() const noexcept { return backbone_; }
  /// Coarse to fine [B, outputs, h, w] f32 (of f64: f64) of `images` [B, C, H, W]. Collective where encoder
  /// and head are.
  Tensors forward(const at::Tensor& images, const Conditions& conditions);

 private:
  std::shared_ptr<Encoder> backbone_;
  std::shared_ptr<YoloHead> head_;
};

}  // namespace cohort::nn
