#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

// Losses of what a dataset's fields say of an image (data/field.h). What is not known takes no part: flags
// and pixels that are 255, pixels of i32 masks that are -1, numbers that are NaN. Sums are scalars of the
// type of the outputs, f32 or f64, and 0 where nothing is known; divided by how many values are known in the
// whole step, they are its mean. Differentiable in the outputs.
namespace cohort::method {

/// Whether each value is known, bool, of the same shape.
at::Tensor known_flags(const at::Tensor& flags);
at::Tensor known_numbers(const at::Tensor& numbers);
at::Tensor known_pixels(const at::Tensor& mask);

/// Binary cross-entropy, -y log s(z) - (1 - y) log(1 - s(z)), of `logits` z [B, L] and `flags` y [B, L] u8,
/// summed over known flags; s: logistic function.
at::Tensor flags_cross_entropy(const at::Tensor& logits, const at::Tensor& flags);

/// (v - n)^2 of `values` v [B, L] and `numbers` n [B, L] f32, summed over known numbers.
at::Tensor squared_errors(const at::Tensor& values, const at::Tensor& numbers);
/// With d = v - n: d^2 / 2 where |d| < 1, |d| - 1/2 elsewhere (P. J. Huber, "Robust estimation of a location
/// parameter", 1964, with threshold 1).
at::Tensor huber_errors(const at::Tensor& values, const at::Tensor& numbers);

/// [B]: -log softmax(z) of the class of a pixel, of `logits` z [B, K, H, W] and a `mask` [B, H, W] of
/// classes, summed over the known pixels of each image.
at::Tensor pixels_cross_entropy(const at::Tensor& logits, const at::Tensor& mask);

/// [B, outputs, H, W] bool: which class a pixel has. One output stands for class 1 of two. A pixel that is
/// not known has none.
at::Tensor pixels_of_classes(const at::Tensor& mask, std::int64_t outputs);
/// flags_cross_entropy() of `logits` [B, outputs, H, W] and pixels_of_classes(), summed over the outputs of
/// known pixels.
at::Tensor pixels_binary_cross_entropy(const at::Tensor& logits, const at::Tensor& mask);

/// [B, K, 3]: sums over the known places of each image of p g, p and g, of probabilities p [B, K, H, W] and
/// what is true g [B, K, H, W]; `known` [B, H, W] bool.
at::Tensor overlaps(const at::Tensor& probabilities, const at::Tensor& truth, const at::Tensor& known);

/// Over what one Dice coefficient is.
enum class DiceClasses {
  merged,     ///< all classes as one set
  per_class,  ///< each class; the loss is their mean
};

/// Dice loss 1 - 2 sum p g / (sum p + sum g) (Milletari et al., arXiv 1606.04797, with sums for squares, as
/// LoVT's evaluation has it, arXiv 2112.02889, published code), of overlaps() [B, K, 3] of all images of a
/// step: sums go over all of them. 0 of a set or class of which nothing is there. Scalar f64.
at::Tensor dice_loss(const at::Tensor& overlaps, DiceClasses classes);

}  // namespace cohort::method
