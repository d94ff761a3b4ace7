#pragma once
#include "augment/planes.h"

// Colour operations of Pillow and torchvision on RGB images with values 0 … 255, not rounded in between.
// Planes have 3 channels.
namespace cohort::augment {

/// value · factor (torchvision's adjust_brightness).
void change_brightness(Planes& image, float factor);
/// factor · value + (1 - factor) · mean luma of the image, rounded (adjust_contrast).
void change_contrast(Planes& image, float factor);
/// factor · value + (1 - factor) · luma of the pixel (adjust_saturation).
void change_saturation(Planes& image, float factor);
/// Turns the hue by `shift` of the circle, -1/2 … 1/2 (adjust_hue): HSV as in Python's colorsys, with hue and
/// saturation in whole steps of 1/255 rounded down, as Pillow has them.
void shift_hue(Planes& image, float shift);
/// All channels become the luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
void make_gray(Planes& image);
/// Values of at least `threshold` become 255 - value.
void solarise(Planes& image, float threshold);

}  // namespace cohort::augment
