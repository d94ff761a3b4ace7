#pragma once
#include <ATen/core/Tensor.h>

namespace cohort::method {

/// [B, 3, H, W] on the CPU: normalised `images` [B, C, H, W] in gray, and in orange what `heat` [B, h, w] >=
/// 0 makes of each cell of a grid over them, in parts of the image's most; of no heat the gray image.
at::Tensor heat_picture(const at::Tensor& images, const at::Tensor& heat);

}  // namespace cohort::method
