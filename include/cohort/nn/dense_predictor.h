#pragma once
#include <memory>

#include "cohort/nn/dense_head.h"
#include "cohort/nn/encoder.h"

namespace cohort::nn {

/// An encoder and a dense head as one model: values for every pixel. Units are the blocks of the head and
/// those of the encoder; the rest of the head stands in the root unit. Parameters are called backbone.… and
/// head.…. Not copyable. One thread at a time.
class DensePredictor final : public UnitModel {
 public:
  DensePredictor(std::shared_ptr<Encoder> encoder, std::shared_ptr<DenseHead> head);

  [[nodiscard]] const std::shared_ptr<Encoder>& backbone() const noexcept { return backbone_; }
  /// [B, outputs, H, W] f32 (of f64: f64) of `images` [B, C, H, W]. Collective where encoder and head are.
  at::Tensor forward(const at::Tensor& images, const Conditions& conditions);

 private:
  std::shared_ptr<Encoder> backbone_;
  std::shared_ptr<DenseHead> head_;
};

}  // namespace cohort::nn
