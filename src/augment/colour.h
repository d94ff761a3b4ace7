#pragma once
#include <array>

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

// Of RandAugment (augment/policy.h), as torchvision and Pillow have them.
/// factor · value + (1 - factor) · smoothed, by the 3 x 3 kernel of ones with 5 in the middle; the outermost
/// pixels stay (adjust_sharpness).
void change_sharpness(Planes& image, float factor);
/// Values, rounded down, keep their highest `bits` of 8 (posterize).
void posterise(Planes& image, int bits);
/// Each channel's lowest value becomes 0, its highest 255 (autocontrast).
void stretch_contrast(Planes& image);
/// Each channel gets the values 0 … 255 equally often, as far as can be; of values rounded to whole ones
/// (equalize).
void equalise(Planes& image);

/// Optical densities of haematoxylin, eosin and DAB (Ruifrok and Johnston, "Quantification of histochemical
/// staining by color deconvolution", 2001; the vectors of scikit-image's rgb2hed) become scale · density +
/// shift, as Tellez et al., "Whole-slide mitosis detection in H&E breast histology using PHH3 as a reference
/// to train distilled stain-invariant convolutional networks", IEEE TMI 2018. Densities are -ln(value / 255)
/// of values of at least 1, and are not cut off below 0.
void change_stains(Planes& image, const std::array<float, 3>& scale, const std::array<float, 3>& shift);

}  // namespace cohort::augment
