#include "cohort/method/field_losses.h"

#include <ATen/ATen.h>

namespace cohort::method {
namespace {

constexpr std::int64_t kUnknownByte = 255, kUnknownClass = -1;

at::Tensor sum_of_known(const at::Tensor& losses, const at::Tensor& known) {
  return (losses * known.to(losses.scalar_type())).sum();
}

at::Tensor logistic_losses(const at::Tensor& logits, const at::Tensor& yes) {
  return at::binary_cross_entropy_with_logits(logits, yes.to(logits.scalar_type()), {}, {},
                                              at::Reduction::None);
}

/// Those that are not known are 0, so that no NaN is multiplied.
at::Tensor finite_numbers(const at::Tensor& numbers, const at::TensorOptions& options) {
  return at::where(known_numbers(numbers), numbers, at::zeros_like(numbers)).to(options);
}

}  // namespace

at::Tensor known_flags(const at::Tensor& flags) {
  return flags.ne(kUnknownByte);
}

at::Tensor known_numbers(const at::Tensor& numbers) {
  return numbers.isnan().logical_not();
}

at::Tensor known_pixels(const at::Tensor& mask) {
  return mask.ne(mask.scalar_type() == at::kByte ? kUnknownByte : kUnknownClass);
}

at::Tensor flags_cross_entropy(const at::Tensor& logits, const at::Tensor& flags) {
  return sum_of_known(logistic_losses(logits, flags.eq(1)), known_flags(flags));
}

at::Tensor squared_errors(const at::Tensor& values, const at::Tensor& numbers) {
  return sum_of_known(at::square(values - finite_numbers(numbers, values.options())), known_numbers(numbers));
}

at::Tensor huber_errors(const at::Tensor& values, const at::Tensor& numbers) {
  const at::Tensor losses =
      at::huber_loss(values, finite_numbers(numbers, values.options()), at::Reduction::None, /*delta=*/1.0);
  return sum_of_known(losses, known_numbers(numbers));
}

// Sums of single losses: LibTorch's own sum over pixels has no fixed order on CUDA.
at::Tensor pixels_cross_entropy(const at::Tensor& logits, const at::Tensor& mask) {
  const at::Tensor classes = at::where(known_pixels(mask), mask.to(at::kLong),
                                       at::full({}, kUnknownClass, at::kLong).to(mask.device()));
  return at::cross_entropy_loss(logits, classes, {}, at::Reduction::None, kUnknownClass)
      .sum(at::IntArrayRef{1, 2});
}

at::Tensor pixels_of_classes(const at::Tensor& mask, std::int64_t outputs) {
  const at::TensorOptions options = mask.options().dtype(at::kLong);
  const at::Tensor classes = outputs == 1 ? at::ones({1}, options) : at::arange(outputs, options);
  return mask.unsqueeze(1).eq(classes.view({1, -1, 1, 1})).logical_and_(known_pixels(mask).unsqueeze(1));
}

at::Tensor pixels_binary_cross_entropy(const at::Tensor& logits, const at::Tensor& mask) {
  const at::Tensor losses = logistic_losses(logits, pixels_of_classes(mask, logits.size(1)));
  return sum_of_known(losses, known_pixels(mask).unsqueeze(1));
}

at::Tensor overlaps(const at::Tensor& probabilities, const at::Tensor& truth, const at::Tensor& known) {
  const auto options = probabilities.options();
  const at::Tensor counts = known.unsqueeze(1).to(options), p = probabilities * counts,
                   g = truth.to(options) * counts;
  const auto sum = [](const at::Tensor& of) { return of.sum(at::IntArrayRef{2, 3}); };
  return at::stack({sum(p * g), sum(p), sum(g)}, 2);
}

at::Tensor dice_loss(const at::Tensor& overlaps, DiceClasses classes) {
  at::Tensor sums = overlaps.to(at::kDouble).sum(0);  // [K, 3]
  if (classes == DiceClasses::merged) sums = sums.sum(0, /*keepdim=*/true);
  const at::Tensor is_there = sums.select(1, 2).gt(0);
  const at::Tensor size = at::where(is_there, sums.select(1, 1) + sums.select(1, 2), 1.0);
  return at::where(is_there, 1.0 - 2.0 * sums.select(1, 0) / size, 0.0).mean();
}

}  // namespace cohort::method
