#pragma once
#include <cstdint>

#include "augment/pixel_body.h"

// A view from stored pixels and a recipe, as a sequence of steps over the view's pixels. `Lanes` runs a step:
// the threads of a block on a device, a loop on the CPU (lanes.h). Every step is finished before the next
// begins.
namespace cohort::augment {

enum class StoredType : std::int32_t { u8, u16, f32 };

/// Where one view of all images goes: [B, C, height, width].
struct ViewOutput {
  float* values;
  std::int32_t height, width;
};

/// Defocus discs of radius 1 … kMostDefocus, kDiscSide² weights each.
inline constexpr std::int32_t kMostDefocus = 5, kDiscSide = 19, kDiscSize = kDiscSide * kDiscSide;

/// All views of a batch of images; travels to a kernel as its argument.
struct ViewBatch {
  static constexpr int kMostViews = 66;
  const unsigned char* stored;   ///< [B, image_bytes]
  const unsigned char* recipes;  ///< [B, recipe_bytes]: one for each view, then the order of channels [C] i32
  std::int64_t image_bytes, recipe_bytes;
  StoredType type;
  std::int32_t images, channels, height, width, views;
  /// [C]; null: each view has its own.
  const float *mean, *deviation;
  const float* discs;
  ViewOutput output[kMostViews];
};

/// Image, view and channel that a job is about.
struct ViewJob {
  const unsigned char *image, *recipe;
  const std::int32_t* order;
  std::int32_t channel;  ///< of the view; all of them in jobs for whole views
  ViewOutput output;     ///< of this image and channel
};

/// Job number `number` of views · B · channels (channels = 1: of whole views); large views come first.
template <class Recipe>
COHORT_DEVICE_CODE ViewJob job_of(const ViewBatch& batch, std::int64_t number, std::int32_t channels) {
  const std::int64_t channel = number % channels, image = number / channels % batch.images,
                     view = number / channels / batch.images;
  const unsigned char* const recipes = batch.recipes + image * batch.recipe_bytes;
  ViewJob job{};
  job.image = batch.stored + image * batch.image_bytes;
  job.recipe = recipes + view * static_cast<std::int64_t>(sizeof(Recipe));
  job.order = reinterpret_cast<const std::int32_t*>(recipes +
                                                    batch.views * static_cast<std::int64_t>(sizeof(Recipe)));
  job.channel = static_cast<std::int32_t>(channel);
  job.output = batch.output[view];
  job.output.values +=
      (image * batch.channels + channel) * std::int64_t{job.output.height} * job.output.width;
  return job;
}

COHORT_DEVICE_CODE float stored_value(const ViewBatch& batch, const unsigned char* image,
                                      std::int32_t index) {
  if (batch.type == StoredType::u8) return static_cast<float>(image[index]);
  if (batch.type == StoredType::u16)
    return static_cast<float>(reinterpret_cast<const std::uint16_t*>(image)[index]);
  return reinterpret_cast<const float*>(image)[index];
}

struct MeanAndDeviation {
  float mean;
  double deviation;
};

template <class Lanes, class Value>
COHORT_DEVICE_CODE MeanAndDeviation statistics(const Lanes& lanes, std::int32_t pixels, const Value& value) {
  const double mean = lanes.sum(pixels, [&](std::int32_t i) { return static_cast<double>(value(i)); }) /
                      static_cast<double>(pixels);
  const double squares = lanes.sum(pixels, [&](std::int32_t i) {
    const double distance = static_cast<double>(value(i)) - mean;
    return distance * distance;
  });
  constexpr double kLeast = 1e-6;  // kLeastDeviation
  return {static_cast<float>(mean), std::max(std::sqrt(squares / static_cast<double>(pixels)), kLeast)};
}

/// Writes value(i) of each pixel of a channel, normalised.
template <class Lanes, class Value>
COHORT_DEVICE_CODE void write_normalised(const Lanes& lanes, const ViewBatch& batch, std::int32_t channel,
                                         std::int32_t pixels, float* output, const Value& value) {
  float mean = 0.0F, scale = 1.0F;
  if (batch.mean != nullptr) {
    mean = batch.mean[channel];
    scale = 1.0F / batch.deviation[channel];
  } else {
    const MeanAndDeviation own = statistics(lanes, pixels, value);
    mean = own.mean;
    scale = static_cast<float>(1.0 / own.deviation);
  }
  lanes.for_each(pixels, [&](std::int32_t i) { output[i] = (value(i) - mean) * scale; });
}

// ---- camelyon_dino: a job is a whole view ----

/// Memory of one job at a time.
struct ColourScratch {
  Window* windows;  ///< [width + height]: of the columns, of the rows
  float* weights;   ///< [width + height, most]
  float *first, *second;
};

struct ColourSizes {
  std::int64_t windows, most, first, second;
  [[nodiscard]] COHORT_DEVICE_CODE std::int64_t bytes() const {
    return windows * static_cast<std::int64_t>(sizeof(Window)) +
           (windows * most + first + second) * static_cast<std::int64_t>(sizeof(float));
  }
};

COHORT_DEVICE_CODE ColourSizes colour_sizes(const ViewBatch& batch, std::int32_t height, std::int32_t width) {
  const std::int64_t most = std::max(most_weights(batch.height, height), most_weights(batch.width, width));
  const std::int64_t row = std::int64_t{3} * width;
  return {std::int64_t{height} + width, most, row * std::max(batch.height, height), row * height};
}

COHORT_DEVICE_CODE ColourScratch colour_scratch(const ColourSizes& sizes, unsigned char* memory) {
  ColourScratch scratch{};
  scratch.windows = reinterpret_cast<Window*>(memory);
  scratch.weights = reinterpret_cast<float*>(scratch.windows + sizes.windows);
  scratch.first = scratch.weights + sizes.windows * sizes.most;
  scratch.second = scratch.first + sizes.first;
  return scratch;
}

COHORT_DEVICE_CODE float weighted(const float* weights, std::int64_t count, const float* source,
                                  std::int64_t stride) {
  float value = 0.0F + weights[0] * source[0];
  for (std::int64_t k = 1; k < count; ++k) value = value + weights[k] * source[k * stride];
  return value;
}

/// As resized() and flip_horizontally(): columns first, into scratch.first; the view into scratch.second.
template <class Lanes>
COHORT_DEVICE_CODE void crop_and_resize(const Lanes& lanes, const ViewBatch& batch, const ViewJob& job,
                                        const ColourRecipe& recipe, const ColourScratch& scratch,
                                        std::int32_t most) {
  const std::int32_t height = job.output.height, width = job.output.width;
  const Resampling columns{batch.width, recipe.box.left, recipe.box.width, width, Filter::bicubic},
      rows{batch.height, recipe.box.top, recipe.box.height, height, Filter::bicubic};
  lanes.for_each(width + height, [&](std::int32_t i) {
    const Resampling& of = i < width ? columns : rows;
    const std::int32_t pixel = i < width ? i : i - width;
    scratch.windows[i] = window_of(of, pixel);
    write_weights(of, pixel, scratch.windows[i], scratch.weights + i * most);
  });
  const Window &top = scratch.windows[width], &bottom = scratch.windows[width + height - 1];
  const auto first_row = static_cast<std::int32_t>(top.first),
             row_count = static_cast<std::int32_t>(bottom.first + bottom.count - top.first);
  lanes.for_each(3 * row_count * width, [&](std::int32_t i) {
    const std::int32_t x = i % width, y = i / width % row_count, c = i / width / row_count;
    const Window& window = scratch.windows[x];
    const float* const weights = scratch.weights + x * most;
    const std::int32_t at =
        (job.order[c] * batch.height + first_row + y) * batch.width + static_cast<std::int32_t>(window.first);
    float value = 0.0F + weights[0] * stored_value(batch, job.image, at);
    for (std::int32_t k = 1; k < window.count; ++k)
      value = value + weights[k] * stored_value(batch, job.image, at + k);
    scratch.first[i] = in_range(value);
  });
  lanes.for_each(3 * height * width, [&](std::int32_t i) {
    const std::int32_t x = i % width, y = i / width % height, c = i / width / height;
    const Window& window = scratch.windows[width + y];
    const float* const source =
        scratch.first + (c * row_count + static_cast<std::int32_t>(window.first) - first_row) * width + x;
    const float value = weighted(scratch.weights + (width + y) * most, window.count, source, width);
    scratch.second[i - x + (recipe.mirrored ? width - 1 - x : x)] = in_range(value);
  });
}

COHORT_DEVICE_CODE void change_pixel(float& r, float& g, float& b, std::uint8_t change,
                                     const ColourRecipe& recipe, float offset) {
  if (change == kBrightness) {
    r = in_range(r * recipe.brightness);
    g = in_range(g * recipe.brightness);
    b = in_range(b * recipe.brightness);
  } else if (change == kContrast) {
    r = in_range(recipe.contrast * r + offset);
    g = in_range(recipe.contrast * g + offset);
    b = in_range(recipe.contrast * b + offset);
  } else if (change == kSaturation) {
    saturate(r, g, b, recipe.saturation);
  } else {
    turn_hue(r, g, b, hue_steps(recipe.hue));
  }
}

/// Changes `begin` to `end` of the order, then gray if asked for, in place.
template <class Lanes>
COHORT_DEVICE_CODE void change_colours(const Lanes& lanes, float* view, std::int32_t pixels,
                                       const ColourRecipe& recipe, int begin, int end, float offset,
                                       bool gray) {
  lanes.for_each(pixels, [&](std::int32_t i) {
    float r = view[i], g = view[pixels + i], b = view[2 * pixels + i];
    for (int k = begin; k < end; ++k) change_pixel(r, g, b, recipe.order[k], recipe, offset);
    if (gray) r = g = b = luma(r, g, b);
    view[i] = r;
    view[pixels + i] = g;
    view[2 * pixels + i] = b;
  });
}

/// As jitter and make_gray(): contrast needs the mean of what the changes before it made.
template <class Lanes>
COHORT_DEVICE_CODE void jitter_colours(const Lanes& lanes, float* view, std::int32_t pixels,
                                       const ColourRecipe& recipe) {
  if (!recipe.jitters) {
    if (recipe.gray) change_colours(lanes, view, pixels, recipe, 0, 0, 0.0F, true);
    return;
  }
  int contrast = 0;
  while (recipe.order[contrast] != kContrast) ++contrast;
  if (contrast > 0) change_colours(lanes, view, pixels, recipe, 0, contrast, 0.0F, false);
  const double lumas = lanes.sum(pixels, [&](std::int32_t i) {
    return static_cast<double>(std::round(luma(view[i], view[pixels + i], view[2 * pixels + i])));
  });
  change_colours(lanes, view, pixels, recipe, contrast, kColourChanges,
                 contrast_offset(recipe.contrast, lumas, pixels), recipe.gray);
}

/// One box blur of `rows` lines of `size` values with `stride` between them; other coordinate: neighbours.
COHORT_DEVICE_CODE float blurred(const float* line, std::int32_t at, std::int32_t size, std::int32_t stride,
                                 const BoxBlur& box) {
  float value = 0.0F + box.inner * line[at * stride];
  for (std::int32_t k = 1; k <= box.reach; ++k) {
    const float weight = k < box.reach ? box.inner : box.edge;
    value = value + weight * line[std::max(at - k, 0) * stride];
    value = value + weight * line[std::min(at + k, size - 1) * stride];
  }
  return value;
}

/// As gaussian_blur(): three passes along x, then three along y; the result is in `view` again.
template <class Lanes>
COHORT_DEVICE_CODE void blur_view(const Lanes& lanes, float* view, float* other, std::int32_t height,
                                  std::int32_t width, double radius) {
  if (radius <= 0.0) return;
  const BoxBlur box = box_blur(radius);
  float *source = view, *target = other;
  for (int pass = 0; pass < 6; ++pass) {
    const bool along_x = pass < 3;
    lanes.for_each(3 * height * width, [&](std::int32_t i) {
      const std::int32_t x = i % width, y = i / width % height;
      target[i] = along_x ? blurred(source + (i - x), x, width, 1, box)
                          : blurred(source + (i - y * width), y, height, width, box);
    });
    float* const swapped = source;
    source = target;
    target = swapped;
  }
}

template <class Lanes>
COHORT_DEVICE_CODE void make_colour_view(const Lanes& lanes, const ViewBatch& batch, std::int64_t number,
                                         unsigned char* memory) {
  const ViewJob job = job_of<ColourRecipe>(batch, number, 1);
  const ColourRecipe& recipe = *reinterpret_cast<const ColourRecipe*>(job.recipe);
  const std::int32_t height = job.output.height, width = job.output.width, pixels = height * width;
  const ColourSizes sizes = colour_sizes(batch, height, width);
  const ColourScratch scratch = colour_scratch(sizes, memory);
  crop_and_resize(lanes, batch, job, recipe, scratch, static_cast<std::int32_t>(sizes.most));
  float* const view = scratch.second;
  jitter_colours(lanes, view, pixels, recipe);
  blur_view(lanes, view, scratch.first, height, width, recipe.blur_radius);
  for (std::int32_t c = 0; c < 3; ++c) {
    write_normalised(lanes, batch, c, pixels, job.output.values + std::int64_t{c} * pixels,
                     [&](std::int32_t i) {
                       const float value = view[c * pixels + i];
                       return recipe.solarises ? solarised(value, 128.0F) : value;
                     });
  }
}

// ---- cell_dino: a job is one channel of a view ----

COHORT_DEVICE_CODE float cropped_value(const ViewBatch& batch, const ViewJob& job, std::int64_t y,
                                       std::int64_t x) {
  if (y < 0 || y >= batch.height || x < 0 || x >= batch.width) return 0.0F;
  const std::int64_t plane = job.order[job.channel];
  return stored_value(batch, job.image,
                      static_cast<std::int32_t>((plane * batch.height + y) * batch.width + x));
}

/// Weights further away than radius + 1 are zero, and zeros add nothing.
COHORT_DEVICE_CODE float defocused_value(const float* plane, std::int32_t y, std::int32_t x,
                                         std::int32_t height, std::int32_t width, const float* disc,
                                         std::int32_t radius) {
  const std::int32_t reach = radius + 1;
  float value = 0.0F;
  for (std::int32_t dy = -reach; dy <= reach; ++dy) {
    const float* const row = plane + mirrored(y + dy, height) * width;
    const float* const weights = disc + (dy + kDiscSide / 2) * kDiscSide + kDiscSide / 2;
    for (std::int32_t dx = -reach; dx <= reach; ++dx) {
      if (weights[dx] > 0.0F) value = value + weights[dx] * row[mirrored(x + dx, width)];
    }
  }
  return value;
}

COHORT_DEVICE_CODE bool lies_in(const Rectangle& part, std::int32_t y, std::int32_t x) {
  return y >= part.top && y < part.top + part.height && x >= part.left && x < part.left + part.width;
}

COHORT_DEVICE_CODE bool lies_in_hole(const CellRecipe& recipe, std::int32_t y, std::int32_t x) {
  for (std::int32_t k = 0; k < recipe.holes; ++k) {
    if (lies_in(recipe.hole[k], y, x)) return true;
  }
  return false;
}

/// `memory`: two planes of the view.
template <class Lanes>
COHORT_DEVICE_CODE void make_cell_view(const Lanes& lanes, const ViewBatch& batch, std::int64_t number,
                                       unsigned char* memory) {
  const ViewJob job = job_of<CellRecipe>(batch, number, batch.channels);
  const CellRecipe& recipe = *reinterpret_cast<const CellRecipe*>(job.recipe);
  const std::int32_t height = job.output.height, width = job.output.width, pixels = height * width;
  float* view = reinterpret_cast<float*>(memory);
  float* other = view + pixels;
  lanes.for_each(pixels, [&](std::int32_t i) {
    const std::int32_t x = recipe.turn == Turn::mirror ? width - 1 - i % width : i % width,
                       y = recipe.turn == Turn::upside_down ? height - 1 - i / width : i / width;
    view[i] = cropped_value(batch, job, y + recipe.top, x + recipe.left);
  });
  if (recipe.turn == Turn::rotate) {
    lanes.for_each(pixels, [&](std::int32_t i) {
      other[i] = rotated_value(rotated_point(i / width, i % width, height, width, recipe.cosine, recipe.sine),
                               view, width);
    });
    float* const swapped = view;
    view = other;
    other = swapped;
  }
  if (recipe.defocus > 0) {
    const float* const disc = batch.discs + (recipe.defocus - 1) * kDiscSize;
    lanes.for_each(pixels, [&](std::int32_t i) {
      other[i] = defocused_value(view, i / width, i % width, height, width, disc, recipe.defocus);
    });
    view = other;
  }
  write_normalised(lanes, batch, job.channel, pixels, job.output.values, [&](std::int32_t i) {
    return lies_in_hole(recipe, i / width, i % width) ? 0.0F : view[i];
  });
}

// ---- whole: a job is one channel of a view, which is as large as the image ----

/// Pixel (y, x) of an image that is mirrored, put upside down and then turned by quarters, counter-clockwise.
COHORT_DEVICE_CODE std::int32_t turned_index(const WholeRecipe& recipe, std::int32_t y, std::int32_t x,
                                             std::int32_t height, std::int32_t width) {
  for (std::int32_t k = 0; k < recipe.quarter_turns; ++k) {  // square, or none
    const std::int32_t before = y;
    y = x;
    x = width - 1 - before;
  }
  if (recipe.upside_down) y = height - 1 - y;
  if (recipe.mirrored) x = width - 1 - x;
  return y * width + x;
}

/// `memory`: two planes of the view.
template <class Lanes>
COHORT_DEVICE_CODE void make_whole_view(const Lanes& lanes, const ViewBatch& batch, std::int64_t number,
                                        unsigned char* memory) {
  const ViewJob job = job_of<WholeRecipe>(batch, number, batch.channels);
  const WholeRecipe& recipe = *reinterpret_cast<const WholeRecipe*>(job.recipe);
  const std::int32_t height = job.output.height, width = job.output.width, pixels = height * width;
  const auto stored = [&](std::int32_t i) {
    return stored_value(batch, job.image, job.channel * pixels + i);
  };
  float mean = 0.0F, deviation = 1.0F;
  if (batch.mean != nullptr) {
    mean = batch.mean[job.channel];
    deviation = batch.deviation[job.channel];
  } else {
    const MeanAndDeviation own = statistics(lanes, pixels, stored);
    mean = own.mean;
    deviation = static_cast<float>(own.deviation);
  }
  float* view = reinterpret_cast<float*>(memory);
  float* const other = view + pixels;
  lanes.for_each(pixels, [&](std::int32_t i) {
    view[i] = (stored(turned_index(recipe, i / width, i % width, height, width)) - mean) / deviation;
  });
  if (recipe.crops) {
    lanes.for_each(pixels, [&](std::int32_t i) {
      const Tap row = tap_of(i / width, height, recipe.box.top, recipe.box.height),
                column = tap_of(i % width, width, recipe.box.left, recipe.box.width);
      other[i] = tapped(view + row.low * width, view + row.high * width, row.weight, column);
    });
    view = other;
  }
  float middle = 0.0F;
  if (recipe.contrasts) {
    const double sum = lanes.sum(pixels, [&](std::int32_t i) { return static_cast<double>(view[i]); });
    middle = static_cast<float>(sum / static_cast<double>(pixels));
  }
  lanes.for_each(pixels, [&](std::int32_t i) {
    float value = view[i];
    if (recipe.contrasts) value = (value - middle) * recipe.contrast + middle;
    if (recipe.brightens) value += recipe.brightness;
    if (recipe.erases && lies_in(recipe.erased, i / width, i % width)) value = 0.0F;
    job.output.values[i] = value;
  });
}

}  // namespace cohort::augment
