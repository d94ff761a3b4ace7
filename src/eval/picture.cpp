#include "cohort/eval/picture.h"

#include <algorithm>
#include <array>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/data/image_codec.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kLeastHeight = 112, kBorder = 4;  // pixels
constexpr std::int64_t kImagesOfSheet = 6;
constexpr double kMapOpacity = 0.6;

/// From dark to bright, so that the order of values shows in gray as well.
constexpr std::array<std::array<float, 3>, 5> kColours{{{0.03F, 0.02F, 0.13F},
                                                        {0.36F, 0.08F, 0.45F},
                                                        {0.78F, 0.24F, 0.31F},
                                                        {0.98F, 0.58F, 0.10F},
                                                        {1.0F, 0.97F, 0.65F}}};

/// `channels` of them from `first` on, [3, H, W], 0 … 1.
at::Tensor shown_channels(const at::Tensor& image, const data::Description& description, std::int64_t first,
                          std::int64_t channels) {
  at::Tensor values = image.narrow(0, first, channels).to(at::kFloat);
  if (description.images.type == data::PixelType::u8) {
    values = values / 255;
  } else {
    const auto statistics = [&](const std::vector<double>& of) {
      return at::tensor(std::vector<double>(of.begin() + first, of.begin() + first + channels), at::kFloat)
          .view({-1, 1, 1});
    };
    values = 0.5 + (values - statistics(description.mean)) / (4 * statistics(description.deviation));
  }
  return values.clamp(0, 1).expand({3, -1, -1});
}

at::Tensor shown(const at::Tensor& image, const data::Description& description) {
  return shown_channels(image, description, 0, image.size(0) < 3 ? 1 : 3);
}

at::Tensor enlarged(const at::Tensor& picture) {
  const std::int64_t factor =
      std::max<std::int64_t>(1, (kLeastHeight + picture.size(1) - 1) / picture.size(1));
  return at::upsample_nearest2d(picture.unsqueeze(0).contiguous(),
                                {picture.size(1) * factor, picture.size(2) * factor})
      .squeeze(0);
}

/// Values 0 … 1, [H, W] -> [3, H, W].
at::Tensor coloured(const at::Tensor& values) {
  at::Tensor colours = at::zeros({3, values.size(0), values.size(1)});
  const at::Tensor place = values * static_cast<double>(kColours.size() - 1);
  for (std::size_t stop = 0; stop < kColours.size(); ++stop) {
    const at::Tensor weight = (1 - (place - static_cast<double>(stop)).abs()).clamp_min(0);
    for (std::size_t c = 0; c < 3; ++c)
      colours[static_cast<std::int64_t>(c)].add_(weight, kColours.at(stop).at(c));
  }
  return colours;
}

/// Maps on their common range, 0 … 1.
at::Tensor scaled(const at::Tensor& maps) {
  const at::Tensor low = maps.min(), range = (maps.max() - low).clamp_min(1e-12);
  return (maps - low) / range;
}

/// `map` 0 … 1.
at::Tensor overlay(const at::Tensor& picture, const at::Tensor& map) {
  const at::Tensor smooth =
      at::upsample_bilinear2d(map.reshape({1, 1, map.size(0), map.size(1)}),
                              {picture.size(1), picture.size(2)}, /*align_corners=*/false);
  return picture.mean(0, true) * (1 - kMapOpacity) + coloured(smooth.squeeze(0).squeeze(0)) * kMapOpacity;
}

/// `canvas` [3, H, W], 0 … 1.
std::string encoded(const at::Tensor& canvas, data::Codec codec) {
  constexpr int kQuality = 85;
  const at::Tensor bytes = canvas.mul(255).round().to(at::kByte).contiguous();
  const data::ImageLayout layout{data::PixelType::u8, 3, canvas.size(1), canvas.size(2)};
  const auto* values = bytes.const_data_ptr<std::uint8_t>();
  const auto file = data::encode_image(
      codec, layout, kQuality, std::as_bytes(std::span(values, static_cast<std::size_t>(bytes.numel()))));
  const void* start = file.data();
  return {static_cast<const char*>(start), file.size()};
}

std::string png_of(const at::Tensor& canvas) {
  return encoded(canvas, data::Codec::png);
}

/// Pictures beside each other, each at the top of a cell of the height and width of the largest, on white.
at::Tensor strip(const std::vector<at::Tensor>& pictures) {
  std::int64_t height = 0, width = 0;
  for (const at::Tensor& picture : pictures) {
    height = std::max(height, picture.size(1));
    width = std::max(width, picture.size(2));
  }
  at::Tensor canvas = at::ones({3, height, (width + kBorder) * std::ssize(pictures) - kBorder});
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const std::int64_t left = static_cast<std::int64_t>(i) * (width + kBorder);
    canvas.narrow(1, 0, pictures[i].size(1)).narrow(2, left, pictures[i].size(2)).copy_(pictures[i]);
  }
  return canvas;
}

}  // namespace

std::string picture_strip(std::span<const at::Tensor> images, const data::Description& description) {
  std::vector<at::Tensor> pictures;
  for (const at::Tensor& image : images) pictures.push_back(enlarged(shown(image, description)));
  return png_of(strip(pictures));
}

std::string map_strip(const at::Tensor& image, std::span<const at::Tensor> maps,
                      const data::Description& description) {
  std::vector<at::Tensor> pictures{enlarged(shown(image, description))};
  for (const at::Tensor& map : maps) pictures.push_back(overlay(pictures.front(), scaled(map)));
  return png_of(strip(pictures));
}

std::string explained_strip(const at::Tensor& image, const at::Tensor& map,
                            const data::Description& description) {
  const at::Tensor picture = enlarged(shown(image, description)), values = scaled(map);
  const at::Tensor places = at::upsample_nearest2d(values.reshape({1, 1, map.size(0), map.size(1)}),
                                                   {picture.size(1), picture.size(2)});
  return png_of(strip({picture, coloured(places.squeeze(0).squeeze(0)), overlay(picture, values)}));
}

std::string channel_strip(const at::Tensor& image, const at::Tensor& maps,
                          const data::Description& description) {
  const at::Tensor values = scaled(maps);
  std::vector<at::Tensor> pictures;
  for (std::int64_t c = 0; c < maps.size(0); ++c)
    pictures.push_back(overlay(enlarged(shown_channels(image, description, c, 1)), values[c]));
  return png_of(strip(pictures));
}

namespace {

/// A view as a model gets it: [C, h, w] -> [3, h, w], 0 … 1.
at::Tensor as_seen(const at::Tensor& view) {
  const at::Tensor values = view.narrow(0, 0, view.size(0) < 3 ? 1 : 3).to(at::kCPU, at::kFloat) / 4 + 0.5;
  return values.clamp(0, 1).expand({3, -1, -1});
}

/// A line for each of the first images, with the pictures [3, h, w] that `pictures_of(image)` gives.
std::string sheet(std::span<const at::Tensor> views,
                  const std::function<std::vector<at::Tensor>(std::int64_t image)>& pictures_of) {
  std::int64_t largest = 1;
  for (const at::Tensor& view : views) largest = std::max(largest, view.size(2));
  const std::int64_t factor = std::max<std::int64_t>(1, kLeastHeight / largest),
                     images = std::min(kImagesOfSheet, views.front().size(0));
  std::vector<at::Tensor> lines;
  for (std::int64_t image = 0; image < images; ++image) {
    std::vector<at::Tensor> pictures;
    for (const at::Tensor& picture : pictures_of(image)) {
      pictures.push_back(at::upsample_nearest2d(picture.unsqueeze(0).contiguous(),
                                                {picture.size(1) * factor, picture.size(2) * factor})
                             .squeeze(0));
    }
    lines.push_back(strip(pictures));
    lines.push_back(at::ones({3, kBorder, lines.front().size(2)}));
  }
  lines.pop_back();
  return png_of(at::cat(lines, 1));
}

}  // namespace

std::string view_sheet(std::span<const at::Tensor> views) {
  return sheet(views, [&](std::int64_t image) {
    std::vector<at::Tensor> pictures;
    for (const at::Tensor& view : views) pictures.push_back(as_seen(view[image]));
    return pictures;
  });
}

std::string view_sheet(std::span<const at::Tensor> views, std::span<const at::Tensor> stored,
                       const data::Description& description) {
  return sheet(views, [&](std::int64_t image) {
    std::vector<at::Tensor> pictures;
    for (std::size_t v = 0; v < views.size(); ++v) {
      pictures.push_back(shown(stored[v][image].to(at::kCPU), description));
      pictures.push_back(as_seen(views[v][image]));
    }
    return pictures;
  });
}

std::string scattered_pictures(std::span<const at::Tensor> images, const at::Tensor& places,
                               const data::Description& description) {
  constexpr std::int64_t kCells = 28, kSide = 36;
  const at::Tensor low = std::get<0>(places.min(0)), range = std::get<0>(places.max(0)) - low;
  const at::Tensor cells = ((places - low) / range.clamp_min(1e-12) * static_cast<double>(kCells - 1))
                               .round()
                               .to(at::kLong)
                               .contiguous();
  at::Tensor canvas = at::ones({3, kCells * kSide, kCells * kSide});
  std::vector<bool> is_taken(static_cast<std::size_t>(kCells * kCells));
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto* cell = cells.const_data_ptr<std::int64_t>() + 2 * i;
    const auto place = static_cast<std::size_t>(cell[1] * kCells + cell[0]);
    if (is_taken[place]) continue;
    is_taken[place] = true;
    const at::Tensor small =
        at::_upsample_bilinear2d_aa(shown(images[i], description).unsqueeze(0).contiguous(),
                                    {kSide - 2, kSide - 2}, /*align_corners=*/false);
    canvas.narrow(1, (kCells - 1 - cell[1]) * kSide + 1, kSide - 2)
        .narrow(2, cell[0] * kSide + 1, kSide - 2)
        .copy_(small.squeeze(0));
  }
  return encoded(canvas, data::Codec::jpeg);
}

std::string thumbnail(const at::Tensor& image, const data::Description& description) {
  constexpr std::int64_t kLargest = 128;
  const at::Tensor plane = image.dim() == 4 ? image.select(1, image.size(1) / 2) : image,
                   picture = shown(plane, description).unsqueeze(0).contiguous();
  const std::int64_t side = std::max(picture.size(2), picture.size(3)), factor = kLargest / side;
  const auto scaled_side = [&](std::int64_t length) {
    return factor > 0 ? length * factor : std::max<std::int64_t>(1, length * kLargest / side);
  };
  const std::int64_t height = scaled_side(picture.size(2)), width = scaled_side(picture.size(3));
  const at::Tensor small =
      factor > 0 ? at::upsample_nearest2d(picture, {height, width})
                 : at::_upsample_bilinear2d_aa(picture, {height, width}, /*align_corners=*/false);
  return encoded(small.squeeze(0), data::Codec::jpeg);
}

std::string tile_maps(std::span<const at::Tensor> maps) {
  std::vector<at::Tensor> pictures;
  for (const at::Tensor& map : maps) {
    const at::Tensor colours = coloured(map.nan_to_num(0.0).clamp(0, 1));
    pictures.push_back(enlarged(at::where(map.isnan().unsqueeze(0), at::ones_like(colours), colours)));
  }
  return png_of(strip(pictures));
}

}  // namespace cohort::eval
