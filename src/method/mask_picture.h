#pragma once
#include <ATen/core/Tensor.h>

namespace cohort::method {

/// [8, 3] of classes 1, 2 … in turn, on the scale of pictures: -2 is black, 2 white.
at::Tensor class_colours();

/// Images [B, C, h, w], normalised, in gray under the colours of a mask's classes [B, h, w] i64: [B, 3, h, w]
/// for Pictures. Class 0 and pixels that are not known (-1, 255) have no colour.
at::Tensor mask_picture(const at::Tensor& images, const at::Tensor& mask);

}  // namespace cohort::method
