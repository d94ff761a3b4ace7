#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/config/field.h"
#include "cohort/core/random.h"
#include "cohort/data/description.h"
#include "cohort/data/view_maker.h"

namespace cohort::augment {

/// Random changes of a training image. All neutral by default.
struct AugmentConfig {
  bool flip_horizontal = false, flip_vertical = false, rotate90 = false;
  double crop_scale_min = 1.0;
  double brightness = 0.0, contrast = 0.0;
  double noise = 0.0;
  double erase = 0.0;

  template <class Visit>
  void fields(Visit& visit) {
    visit("flip_horizontal", flip_horizontal, "mirror left and right, with probability 1/2");
    visit("flip_vertical", flip_vertical, "mirror top and bottom, with probability 1/2");
    visit("rotate90", rotate90, "rotate by 0, 90, 180 or 270 degrees; needs square images");
    visit("crop_scale_min", crop_scale_min,
          "smallest area of a random crop of the image's own shape, as a part of the image; 1: no crop. "
          "Resized back, bilinear",
          config::Range{0.01, 1.0});
    visit("brightness", brightness, "largest change of brightness, in standard deviations of the dataset",
          config::Range{0.0, 10.0});
    visit("contrast", contrast, "largest relative change of contrast about each channel's mean in the image",
          config::Range{0.0, 1.0});
    visit("noise", noise, "standard deviation of added Gaussian noise, in standard deviations of the dataset",
          config::Range{0.0, 10.0});
    visit("erase", erase, "probability of replacing a random rectangle of 2 … 20 % of the area by the mean",
          config::Range{0.0, 1.0});
  }
};

/// How pixel values become inputs of the model.
enum class Normalisation {
  dataset,   ///< the dataset's mean and deviation of each channel
  image,     ///< each image's (or view's) own
  imagenet,  ///< those of ImageNet, for 8-bit RGB images
};
std::span<const config::EnumName<Normalisation>> enum_names(Normalisation);

/// (image - mean) / deviation per channel (deviation at least 1e-6). `images` [B, C, H, W] f32 in stored
/// units; the result is f32, contiguous.
at::Tensor normalise(const at::Tensor& images, const data::Description& description,
                     Normalisation normalisation);

/// The inverse, for people: of images that were normalised by their own statistics with those of the dataset.
at::Tensor denormalise(const at::Tensor& images, const data::Description& description,
                       Normalisation normalisation);

/// One view of every image, for training; volumes are not changed: normalised, then changed at random, in
/// this order: flips, rotation, crop, contrast, brightness, noise, erasing. Of the size of the image. Numbers
/// are keyed by (seed, Purpose::augment, epoch, row, view 0): the same on any number of ranks and in any
/// batch; each change draws its own, whether or not the others are on. Throws UsageError: rotate90 with
/// images that are not square; ImageNet's statistics for images that are not 8-bit RGB; changes of volumes.
std::unique_ptr<data::ViewMaker> training_view(const AugmentConfig& config,
                                               const data::Description& description,
                                               Normalisation normalisation, std::uint64_t seed,
                                               std::int64_t epoch);

/// The whole image or volume, normalised: for evaluation.
std::unique_ptr<data::ViewMaker> evaluation_view(const data::Description& description,
                                                 Normalisation normalisation);

}  // namespace cohort::augment
