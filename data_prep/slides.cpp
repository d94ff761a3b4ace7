#include "data_prep/slides.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>

#ifdef COHORT_OPENSLIDE
#include <openslide.h>
#endif

#include "cohort/core/error.h"

#include "data_prep/image_file.h"
#include "data_prep/readers.h"
#include "data_prep/slide_tiles.h"

namespace cohort::data_prep {

#ifdef COHORT_OPENSLIDE
namespace {

[[noreturn]] void refuse_slide(const std::string& reason, const std::filesystem::path& file) {
  throw DataError({"the slide cannot be read: " + reason, file.string(), "replace the file or leave it out"});
}

/// A channel of a pixel that OpenSlide gives, premultiplied with its alpha, in front of `background`.
std::uint8_t over(std::uint32_t pixel, int shift, std::uint32_t background) {
  const std::uint32_t colour = (pixel >> shift) & 255U, behind = (background >> shift) & 255U;
  const std::uint32_t clear = 255U - (pixel >> 24U);
  return static_cast<std::uint8_t>(std::min(255U, colour + (clear * behind + 127U) / 255U));
}

/// The channels of pixels of OpenSlide, one after the other. Most regions hide the background.
void separate(const std::vector<std::uint32_t>& pixels, std::uint32_t background, std::byte* out) {
  const bool hides =
      std::all_of(pixels.begin(), pixels.end(), [](std::uint32_t pixel) { return pixel >> 24U == 255U; });
  for (const int shift : {16, 8, 0}) {
    for (const std::uint32_t pixel : pixels)
      *out++ = static_cast<std::byte>(hides ? pixel >> shift : over(pixel, shift, background));
  }
}

}  // namespace

struct Slide::Handle {
  explicit Handle(std::filesystem::path path) : file(std::move(path)), slide(openslide_open(file.c_str())) {
    if (slide == nullptr) refuse_slide("OpenSlide does not know its format", file);
    check();
    const char* colour = openslide_get_property_value(slide, OPENSLIDE_PROPERTY_NAME_BACKGROUND_COLOR);
    if (colour != nullptr) background = static_cast<std::uint32_t>(std::strtoul(colour, nullptr, 16));
  }
  ~Handle() {
    if (slide != nullptr) openslide_close(slide);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  /// After an error a slide gives nothing any more.
  void check() {
    const char* error = openslide_get_error(slide);
    if (error == nullptr) return;
    const std::string text = error;
    openslide_close(slide);
    slide = nullptr;
    refuse_slide(text, file);
  }

  /// Null: nothing but OpenSlide reads the level.
  SlideTiles* tiles_of(const Level& level, std::size_t number) {
    const auto [found, is_new] = tiles.try_emplace(number);
    const char* vendor = openslide_get_property_value(slide, OPENSLIDE_PROPERTY_NAME_VENDOR);
    if (!is_new || vendor == nullptr) return found->second.get();
    try {
      found->second = std::make_unique<SlideTiles>(file, vendor, level.height, level.width);
    } catch (const TiffProblem&) {  // null
    }
    return found->second.get();
  }

  /// Nothing: OpenSlide has to read it, or to say what is wrong with it.
  std::optional<Image> stored_region(const Level& level, std::size_t number, std::int64_t x, std::int64_t y,
                                     std::int64_t height, std::int64_t width) {
    const double column = static_cast<double>(x) / level.downsample,
                 row = static_cast<double>(y) / level.downsample;
    const bool is_between_pixels = column != std::floor(column) || row != std::floor(row);
    SlideTiles* stored = is_between_pixels ? nullptr : tiles_of(level, number);
    if (stored == nullptr) return std::nullopt;
    try {
      return stored->region(static_cast<std::int64_t>(row), static_cast<std::int64_t>(column), height, width);
    } catch (const TiffProblem&) {
      return std::nullopt;
    }
  }

  std::filesystem::path file;
  openslide_t* slide;
  std::uint32_t background = 0xFFFFFF;
  std::map<std::size_t, std::unique_ptr<SlideTiles>> tiles;  // by level
};

Slide::Slide(const std::filesystem::path& file) : handle_(std::make_unique<Handle>(file)) {
  for (int level = 0; level < openslide_get_level_count(handle_->slide); ++level) {
    Level found;
    openslide_get_level_dimensions(handle_->slide, level, &found.width, &found.height);
    found.downsample = openslide_get_level_downsample(handle_->slide, level);
    levels_.push_back(found);
  }
  handle_->check();
}

std::string Slide::property(const std::string& name) const {
  const char* value = openslide_get_property_value(handle_->slide, name.c_str());
  return value == nullptr ? "" : value;
}

std::optional<double> Slide::microns_per_pixel() const {
  const double x = std::atof(property(OPENSLIDE_PROPERTY_NAME_MPP_X).c_str()),
               y = std::atof(property(OPENSLIDE_PROPERTY_NAME_MPP_Y).c_str());
  return x > 0 && y > 0 ? std::optional((x + y) / 2) : std::nullopt;
}

Image Slide::region(std::size_t level, std::int64_t x, std::int64_t y, std::int64_t height,
                    std::int64_t width) const {
  if (handle_->slide == nullptr) refuse_slide("a part of it was damaged", handle_->file);
  std::optional<Image> stored = handle_->stored_region(levels_[level], level, x, y, height, width);
  if (stored) return *std::move(stored);
  std::vector<std::uint32_t> pixels(static_cast<std::size_t>(height * width));
  openslide_read_region(handle_->slide, pixels.data(), x, y, static_cast<int>(level), width, height);
  handle_->check();
  Image image{{data::PixelType::u8, 3, height, width}, {}};
  image.pixels.resize(3 * pixels.size());
  separate(pixels, handle_->background, image.pixels.data());
  return image;
}
#else
struct Slide::Handle {};

Slide::Slide(const std::filesystem::path& file) {
  refuse_left_out("whole slides", "libopenslide-dev", file.string());
}
std::string Slide::property(const std::string&) const {
  return "";
}
std::optional<double> Slide::microns_per_pixel() const {
  return std::nullopt;
}
Image Slide::region(std::size_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t) const {
  return {};
}
#endif

Slide::~Slide() = default;
Slide::Slide(Slide&&) noexcept = default;
Slide& Slide::operator=(Slide&&) noexcept = default;

namespace {

/// The saturation of each pixel of an RGB image.
std::vector<std::uint8_t> saturations(const Image& image) {
  const std::size_t count = image.pixels.size() / 3;
  const auto* colours = static_cast<const std::uint8_t*>(static_cast<const void*>(image.pixels.data()));
  std::vector<std::uint8_t> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto [least, most] = std::minmax({colours[i], colours[i + count], colours[i + 2 * count]});
    values[i] = most == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(255 * (most - least) / most);
  }
  return values;
}

/// A level that is small, but not too small to tell tissue.
std::size_t overview_level(const std::vector<Slide::Level>& levels) {
  constexpr std::int64_t kLeast = 1024;
  std::size_t best = 0;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    if (std::max(levels[i].height, levels[i].width) >= kLeast &&
        levels[i].downsample > levels[best].downsample)
      best = i;
  }
  return best;
}

/// The saturation of a level, of squares of `factor` pixels, a block at a time.
std::vector<std::uint8_t> overview(const Slide& slide, std::size_t level, std::int64_t factor,
                                   std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kBlock = 512;
  const double downsample = slide.levels()[level].downsample;
  std::vector<std::uint8_t> all(static_cast<std::size_t>(rows * columns));
  for (std::int64_t row = 0; row < rows; row += kBlock) {
    for (std::int64_t column = 0; column < columns; column += kBlock) {
      const std::int64_t height = std::min(kBlock, rows - row), width = std::min(kBlock, columns - column);
      const Image block = slide.region(level, std::llround(static_cast<double>(column * factor) * downsample),
                                       std::llround(static_cast<double>(row * factor) * downsample),
                                       height * factor, width * factor);
      const std::vector<std::uint8_t> values =
          saturations(factor == 1 ? block : resize(block, height, width));
      for (std::int64_t y = 0; y < height; ++y)
        std::copy_n(values.begin() + y * width, width, all.begin() + (row + y) * columns + column);
    }
  }
  return all;
}

/// First and last index whose centre, (index + 0.5) * scale, lies in [start, start + side).
std::pair<std::int64_t, std::int64_t> covered(double start, double side, double scale, std::int64_t count) {
  const auto first = static_cast<std::int64_t>(std::ceil(start / scale - 0.5)),
             end = static_cast<std::int64_t>(std::ceil((start + side) / scale - 0.5));
  return {std::clamp<std::int64_t>(first, 0, count), std::clamp<std::int64_t>(end, 0, count)};
}

}  // namespace

int otsu_threshold(const std::vector<std::int64_t>& counts) {
  double total = 0, sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    total += static_cast<double>(counts[i]);
    sum += static_cast<double>(i) * static_cast<double>(counts[i]);
  }
  double below = 0, sum_below = 0, most = -1;
  int best = 0;
  for (std::size_t i = 0; i + 1 < counts.size(); ++i) {
    below += static_cast<double>(counts[i]);
    sum_below += static_cast<double>(i) * static_cast<double>(counts[i]);
    if (below == 0 || below == total) continue;
    const double distance = sum_below / below - (sum - sum_below) / (total - below);
    const double between = below * (total - below) * distance * distance;
    if (between <= most) continue;
    most = between;
    best = static_cast<int>(i);
  }
  return best;
}

TissueMask tissue_mask(const Slide& slide) {
  const std::size_t level = overview_level(slide.levels());
  const Slide::Level& from = slide.levels()[level];
  constexpr std::int64_t kMost = 2048;
  const std::int64_t factor = (std::max(from.height, from.width) + kMost - 1) / kMost;
  TissueMask mask{from.height / factor, from.width / factor, from.downsample * static_cast<double>(factor)};
  const std::vector<std::uint8_t> values = overview(slide, level, factor, mask.height, mask.width);
  std::vector<std::int64_t> counts(256, 0);
  for (const std::uint8_t value : values) ++counts[value];
  const int threshold = otsu_threshold(counts);
  for (const std::uint8_t value : values) mask.is_tissue.push_back(value > threshold);
  return mask;
}

double TissueMask::share(double x, double y, double side) const {
  const auto [left, right] = covered(x, side, scale, width);
  const auto [top, bottom] = covered(y, side, scale, height);
  std::int64_t found = 0;
  for (std::int64_t row = top; row < bottom; ++row) {
    for (std::int64_t column = left; column < right; ++column)
      found += is_tissue[static_cast<std::size_t>(row * width + column)] ? 1 : 0;
  }
  const std::int64_t all = (bottom - top) * (right - left);
  return all == 0 ? 0 : static_cast<double>(found) / static_cast<double>(all);
}

}  // namespace cohort::data_prep
