#pragma once
#include <ATen/core/Tensor.h>

#include "cohort/data/batch.h"
#include "cohort/method/yolo_loss.h"

namespace cohort::method {

/// Images [B, C, h, w], normalised, in gray under outlines of `boxes`, a field of kind boxes in their pixels,
/// in the colours of their classes: [B, 3, h, w] for Pictures. Boxes of unknown class (-1) are white. What
/// lies outside of an image is not drawn.
at::Tensor box_picture(const at::Tensor& images, const data::Column& boxes);

/// Those with a confidence above `confidence`.
data::Column surer_than(double confidence, const FoundBoxes& found);

}  // namespace cohort::method
