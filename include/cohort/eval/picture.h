#pragma once
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

#include "cohort/data/description.h"

namespace cohort::eval {

/// PNG of pictures beside each other, each enlarged to at least 112 pixels of height by a whole factor.
/// `images` [C, H, W] f32 in stored units: one channel gray, else the first three red, green and blue.
std::string picture_strip(std::span<const at::Tensor> images, const data::Description& description);

/// PNG of the image, and beside it the image under each map [h, w], which is scaled to its own range: dark
/// where it is lowest, bright where it is highest.
std::string map_strip(const at::Tensor& image, std::span<const at::Tensor> maps,
                      const data::Description& description);

/// PNG of the image, the map [h, w] by itself, and the image under it.
std::string explained_strip(const at::Tensor& image, const at::Tensor& map,
                            const data::Description& description);

/// PNG of each channel of the image [C, H, W], in gray, under its map of `maps` [C, h, w], which are scaled
/// to the range of all of them.
std::string channel_strip(const at::Tensor& image, const at::Tensor& maps,
                          const data::Description& description);

/// PNG of views as a model gets them: a line for each of the first images, a column for each view. `views`:
/// V × [B, C, h, w] normalised, of any sizes; black is -2, white 2.
std::string view_sheet(std::span<const at::Tensor> views);

/// The same with what each view shows, `stored` V × [B, C, h, w] in stored units, to the left of it.
std::string view_sheet(std::span<const at::Tensor> views, std::span<const at::Tensor> stored,
                       const data::Description& description);

/// JPEG of small pictures of `images`, each [C, H, W] f32 in stored units, where `places` [n, 2] f64 say, on
/// white: of several that would cover each other the first one.
std::string scattered_pictures(std::span<const at::Tensor> images, const at::Tensor& places,
                               const data::Description& description);

/// JPEG of the image [C, H, W], or of the middle plane of the volume [C, D, H, W], f32 in stored units, with
/// a larger side of 128 pixels at most; small ones are enlarged by a whole factor.
std::string thumbnail(const at::Tensor& image, const data::Description& description);

/// PNG of maps [h, w] f32 of values 0 … 1 beside each other, dark to bright, each cell a square of some
/// pixels; white where a map is NaN.
std::string tile_maps(std::span<const at::Tensor> maps);

}  // namespace cohort::eval
