#include "data_prep/image.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/data/pixel_type.h"

namespace cohort::data_prep {
namespace {

Image make_image(data::ImageLayout layout, const Remarks& remarks = {}) {
  return {layout, std::vector<std::byte>(static_cast<std::size_t>(layout.bytes())), remarks};
}

template <class T>
T* pixels_as(Image& image) {
  return static_cast<T*>(static_cast<void*>(image.pixels.data()));
}

/// What source positions one target position is made of: weights are integers and add up to `total`.
struct Taps {
  struct Tap {
    std::int64_t position, weight;
  };
  std::vector<std::vector<Tap>> of_target;
  std::int64_t total;
};

// In units of 1/target of a source pixel: a source pixel is `target` long, a target pixel `source` long.
Taps area_taps(std::int64_t source, std::int64_t target) {
  Taps taps{std::vector<std::vector<Taps::Tap>>(static_cast<std::size_t>(target)), source};
  for (std::int64_t i = 0; i < target; ++i) {
    for (std::int64_t position = i * source / target; position * target < (i + 1) * source; ++position) {
      const std::int64_t start = std::max(position * target, i * source);
      const std::int64_t end = std::min((position + 1) * target, (i + 1) * source);
      taps.of_target[static_cast<std::size_t>(i)].push_back({position, end - start});
    }
  }
  return taps;
}

// Centre of target pixel i: ((2 i + 1) source - target) / (2 target) source pixels right of the first centre.
Taps linear_taps(std::int64_t source, std::int64_t target) {
  Taps taps{std::vector<std::vector<Taps::Tap>>(static_cast<std::size_t>(target)), 2 * target};
  for (std::int64_t i = 0; i < target; ++i) {
    const std::int64_t place =
        std::clamp<std::int64_t>((2 * i + 1) * source - target, 0, (source - 1) * 2 * target);
    const std::int64_t left = place / taps.total, right_weight = place % taps.total;
    auto& of_target = taps.of_target[static_cast<std::size_t>(i)];
    of_target.push_back({left, taps.total - right_weight});
    if (right_weight > 0) of_target.push_back({left + 1, right_weight});
  }
  return taps;
}

Taps taps_for(std::int64_t source, std::int64_t target) {
  return target <= source ? area_taps(source, target) : linear_taps(source, target);
}

template <class T, class Sum>
T rounded(Sum sum, std::int64_t total) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>((2 * sum + total) / (2 * total));
  else
    return static_cast<T>(sum / static_cast<Sum>(total));
}

/// One channel: rows first, then columns, without rounding in between.
template <class T>
void resize_plane(const T* source, std::int64_t source_width, const Taps& rows, const Taps& columns,
                  T* target) {
  using Sum = std::conditional_t<std::is_integral_v<T>, std::int64_t, double>;
  std::vector<Sum> line(static_cast<std::size_t>(source_width));
  for (const auto& row : rows.of_target) {
    std::fill(line.begin(), line.end(), Sum{0});
    for (const auto& [position, weight] : row) {
      const T* values = source + position * source_width;
      for (std::size_t x = 0; x < line.size(); ++x)
        line[x] += static_cast<Sum>(weight) * static_cast<Sum>(values[x]);
    }
    for (const auto& column : columns.of_target) {
      Sum sum{0};
      for (const auto& [position, weight] : column) {
        sum += static_cast<Sum>(weight) * line[static_cast<std::size_t>(position)];
      }
      *target++ = rounded<T>(sum, rows.total * columns.total);
    }
  }
}

/// How an image as it is seen lies in a plane of the stored one.
struct Walk {
  std::int64_t height, width;
  std::int64_t first;        ///< where it begins
  std::int64_t down, right;  ///< how far it is to the next row and to the next column
};

Walk walk_of(const data::ImageLayout& stored, int orientation) {
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7,
             from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const std::int64_t height = stored.height, width = stored.width;
  Walk walk{height, width, (from_bottom ? (height - 1) * width : 0) + (from_right ? width - 1 : 0),
            from_bottom ? -width : width, from_right ? -1 : 1};
  if (orientation >= 5) {
    std::swap(walk.height, walk.width);
    std::swap(walk.down, walk.right);
  }
  return walk;
}

/// `length` in the ratio `to` : `from`, at least 1, rounded half up.
std::int64_t scaled(std::int64_t length, std::int64_t from, std::int64_t to) {
  return std::max<std::int64_t>(1, (2 * length * to + from) / (2 * from));
}

/// Copies the middle of `image` to the middle of one of height x width, the rest of which is 0.
Image centred(const Image& image, std::int64_t height, std::int64_t width) {
  const data::ImageLayout& from = image.layout;
  Image framed = make_image({from.type, from.channels, height, width, from.depth}, image.remarks);
  const std::int64_t rows = std::min(height, from.height), columns = std::min(width, from.width);
  const auto start = [&](const data::ImageLayout& of, std::int64_t row) {
    return ((of.height - rows) / 2 + row) * of.width + (of.width - columns) / 2;
  };
  data::visit_pixels(from.type, image.pixels.data(), [&](const auto* values) {
    auto* out = pixels_as<std::remove_cvref_t<decltype(*values)>>(framed);
    for (std::int64_t c = 0; c < from.channels * from.depth; ++c) {
      for (std::int64_t row = 0; row < rows; ++row) {
        std::copy_n(values + c * from.height * from.width + start(from, row), columns,
                    out + c * height * width + start(framed.layout, row));
      }
    }
  });
  return framed;
}

/// `change` of a volume as if it were an image of [depth, H · W]: of its depth alone.
template <class Change>
Image along_depth(Image volume, const Change& change) {
  const data::ImageLayout layout = volume.layout;
  const std::int64_t slice = layout.height * layout.width;
  volume.layout = {layout.type, layout.channels, layout.depth, slice};
  Image changed = change(volume, slice);
  changed.layout = {layout.type, layout.channels, layout.height, layout.width, changed.layout.height};
  return changed;
}

}  // namespace

Scaling scaling_of(const Extent& from, const data::Preparation& preparation) {
  const bool is_deep = preparation.depth > 0;
  const Extent to{preparation.height, preparation.width, is_deep ? preparation.depth : from.depth};
  if (preparation.fit == data::Fit::stretch) return {to.height, to.width, 0, 0, to.depth, 0};
  struct Axis {
    std::int64_t from, to;
  };
  Axis fitting{from.height, to.height};
  const auto try_axis = [&](const Axis& axis) {
    const bool grows_more = axis.to * fitting.from > fitting.to * axis.from,
               grows_less = axis.to * fitting.from < fitting.to * axis.from;
    if (preparation.fit == data::Fit::crop ? grows_more : grows_less) fitting = axis;
  };
  try_axis({from.width, to.width});
  if (is_deep) try_axis({from.depth, to.depth});
  const auto whole = [&](std::int64_t side) { return scaled(side, fitting.from, fitting.to); };
  const auto corner = [](std::int64_t side, std::int64_t result) {  // as centred() has it
    return side > result ? -((side - result) / 2) : (result - side) / 2;
  };
  Scaling scaling{whole(from.height), whole(from.width)};
  scaling.depth = is_deep ? whole(from.depth) : from.depth;
  scaling.top = corner(scaling.height, to.height);
  scaling.left = corner(scaling.width, to.width);
  scaling.front = corner(scaling.depth, to.depth);
  return scaling;
}

bool is_finite(const Image& image) {
  if (image.layout.type != data::PixelType::f32) return true;
  float value = 0;
  for (std::size_t at = 0; at < image.pixels.size(); at += sizeof(value)) {
    std::memcpy(&value, image.pixels.data() + at, sizeof(value));
    if (!std::isfinite(value)) return false;
  }
  return true;
}

Image from_interleaved(const data::ImageLayout& layout, const std::byte* pixels) {
  Image image = make_image(layout);
  const std::int64_t plane = layout.values() / layout.channels;
  data::visit_pixels(layout.type, pixels, [&](const auto* values) {
    auto* out = pixels_as<std::remove_cvref_t<decltype(*values)>>(image);
    for (std::int64_t c = 0; c < layout.channels; ++c) {
      for (std::int64_t i = 0; i < plane; ++i) *out++ = values[i * layout.channels + c];
    }
  });
  return image;
}

Image upright(Image image, int orientation) {
  image.remarks.no_orientation |= orientation == 0;
  if (orientation <= 1) return image;
  const data::ImageLayout& stored = image.layout;
  const Walk walk = walk_of(stored, orientation);
  Image seen = make_image({stored.type, stored.channels, walk.height, walk.width}, image.remarks);
  seen.remarks.turned = true;
  data::visit_pixels(stored.type, image.pixels.data(), [&](const auto* values) {
    auto* out = pixels_as<std::remove_cvref_t<decltype(*values)>>(seen);
    for (std::int64_t c = 0; c < stored.channels; ++c) {
      const auto* start = values + c * stored.height * stored.width + walk.first;
      for (std::int64_t y = 0; y < walk.height; ++y) {
        for (std::int64_t x = 0; x < walk.width; ++x) *out++ = start[y * walk.down + x * walk.right];
      }
    }
  });
  return seen;
}

Image to_gray(const Image& image) {
  if (image.layout.channels == 1) return image;
  COHORT_CHECK(image.layout.channels == 3, "{} channels", image.layout.channels);
  data::ImageLayout layout = image.layout;
  layout.channels = 1;
  Image gray = make_image(layout, image.remarks);
  const std::int64_t plane = layout.values();
  data::visit_pixels(layout.type, image.pixels.data(), [&](const auto* values) {
    using T = std::remove_cvref_t<decltype(*values)>;
    using Sum = std::conditional_t<std::is_integral_v<T>, std::int64_t, double>;
    T* out = pixels_as<T>(gray);
    for (std::int64_t i = 0; i < plane; ++i) {
      const Sum sum = Sum{299} * static_cast<Sum>(values[i]) +
                      Sum{587} * static_cast<Sum>(values[plane + i]) +
                      Sum{114} * static_cast<Sum>(values[2 * plane + i]);
      out[i] = rounded<T>(sum, 1000);
    }
  });
  return gray;
}

Image resize(const Image& image, std::int64_t height, std::int64_t width) {
  const data::ImageLayout& from = image.layout;
  if (from.height == height && from.width == width) return image;
  Image resized = make_image({from.type, from.channels, height, width, from.depth}, image.remarks);
  const Taps rows = taps_for(from.height, height), columns = taps_for(from.width, width);
  data::visit_pixels(from.type, image.pixels.data(), [&](const auto* values) {
    auto* out = pixels_as<std::remove_cvref_t<decltype(*values)>>(resized);
    for (std::int64_t c = 0; c < from.channels * from.depth; ++c) {
      resize_plane(values + c * from.height * from.width, from.width, rows, columns,
                   out + c * height * width);
    }
  });
  return resized;
}

Image resize(const Image& image, const data::Preparation& to) {
  const data::ImageLayout& from = image.layout;
  const Scaling scaling = scaling_of({from.height, from.width, from.depth}, to);
  const auto framed = [&](const Image& whole, std::int64_t height, std::int64_t width) {
    return to.fit == data::Fit::stretch ? whole : centred(whole, height, width);
  };
  Image slices = framed(resize(image, scaling.height, scaling.width), to.height, to.width);
  if (to.depth == 0) return slices;
  return along_depth(std::move(slices), [&](const Image& volume, std::int64_t slice) {
    return framed(resize(volume, scaling.depth, slice), to.depth, slice);
  });
}

Image prepared(const Image& image, const data::Preparation& preparation) {
  const std::int64_t channels = image.layout.channels;
  if (preparation.gray && channels != 1 && channels != 3) {
    throw UsageError(
        {fmt::format("images of {} channels cannot become gray", channels), "--gray", "leave it out"});
  }
  if (preparation.depth > 0 && !image.layout.is_volume()) {
    throw UsageError({"images have no depth, which --resize gives them", "--resize",
                      "give height x width, or one number for both"});
  }
  const Image coloured = preparation.gray ? to_gray(image) : image;
  return preparation.height == 0 ? coloured : resize(coloured, preparation);
}

}  // namespace cohort::data_prep
