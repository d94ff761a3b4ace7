#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <type_traits>

#include <tiffio.h>

#include "cohort/data/pixel_type.h"

#include "data_prep/exif.h"
#include "data_prep/image_file.h"
#include "data_prep/tiff_page.h"

namespace cohort::data_prep {
namespace {

void check_size(const TiffFile& file, const TiffPage& page, std::int64_t height, std::int64_t width) {
  if (height == 0 || width == 0) throw TiffProblem("it has no pixels");
  if (!is_plausible({page.type, page.samples, height, width}, file.bytes()))
    throw TiffProblem("it claims more pixels than it can hold");
}

/// The pieces that a page is stored in, all of one size: strips as wide as it is, or tiles.
class Pieces {
 public:
  Pieces(const TiffFile& file, const TiffPage& page)
      : file_(file),
        page_(page),
        tiled_(TIFFIsTiled(file.get()) != 0),
        height_(tiled_
                    ? file.field<std::uint32_t>(TIFFTAG_TILELENGTH)
                    : std::min<std::int64_t>(file.field<std::uint32_t>(TIFFTAG_ROWSPERSTRIP), page.height)),
        width_(tiled_ ? file.field<std::uint32_t>(TIFFTAG_TILEWIDTH) : page.width) {
    check_size(file, page, height_, width_);
    row_bytes_ = (width_ * (page.interleaved ? page.samples : 1) * page.bits + 7) / 8;
    bytes_.resize(static_cast<std::size_t>(row_bytes_ * height_));
  }

  [[nodiscard]] std::int64_t height() const noexcept { return height_; }
  [[nodiscard]] std::int64_t width() const noexcept { return width_; }

  /// Reads the piece that begins at (y, x). `sample`: of which, where each lies by itself.
  void read(std::int64_t y, std::int64_t x, std::int64_t sample) {
    TIFF* tiff = file_.get();
    const auto row = static_cast<std::uint32_t>(y), column = static_cast<std::uint32_t>(x);
    const auto plane = static_cast<std::uint16_t>(page_.interleaved ? 0 : sample);
    const auto size = static_cast<tmsize_t>(bytes_.size());
    const tmsize_t taken =
        tiled_ ? TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, column, row, 0, plane), bytes_.data(), size)
               : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, row, plane), bytes_.data(), size);
    if (taken < std::min(height_, page_.height - y) * row_bytes_) TiffFile::refuse_damage();
  }

  /// The beginning of `sample`'s values in row y of the piece that was read last, one for each of `out`.
  template <class T>
  void take(std::int64_t y, std::int64_t sample, std::span<T> out) const {
    const std::byte* row = bytes_.data() + y * row_bytes_;
    std::int64_t index = page_.interleaved ? sample : 0;
    for (T& value : out) {
      value = at<T>(row, index);
      index += page_.interleaved ? page_.samples : 1;
    }
  }

 private:
  /// Values of fewer than 8 bits fill bytes from the highest bit on.
  template <class T>
  [[nodiscard]] T at(const std::byte* row, std::int64_t index) const {
    T value{};
    if constexpr (sizeof(T) == 1) {
      const std::int64_t bit = index * page_.bits, behind = 8 - page_.bits - bit % 8;
      value = static_cast<T>(std::to_integer<unsigned>(row[bit / 8]) >> behind & ((1U << page_.bits) - 1));
    } else {
      std::memcpy(&value, row + index * static_cast<std::int64_t>(sizeof value), sizeof value);
    }
    return value;
  }

  const TiffFile& file_;
  const TiffPage& page_;
  bool tiled_;
  std::int64_t height_, width_;
  std::int64_t row_bytes_ = 0;
  std::vector<std::byte> bytes_;
};

/// Calls `visit` with the pixels of `image` as what they are, to be written.
template <class Visit>
void change_pixels(Image& image, Visit&& visit) {
  data::visit_pixels(image.layout.type, image.pixels.data(), [&](const auto* start) {
    using T = std::remove_cvref_t<decltype(*start)>;
    visit(std::span(static_cast<T*>(static_cast<void*>(image.pixels.data())),
                    static_cast<std::size_t>(image.layout.values())));
  });
}

/// The values of the kept samples as they are stored.
template <class T>
void read_planes(const TiffFile& file, const TiffPage& page, std::span<T> planes) {
  Pieces pieces(file, page);
  const auto take = [&](std::int64_t y, std::int64_t x, std::int64_t sample, std::span<T> plane) {
    const std::int64_t rows = std::min(pieces.height(), page.height - y),
                       columns = std::min(pieces.width(), page.width - x);
    for (std::int64_t row = 0; row < rows; ++row)
      pieces.take(row, sample,
                  plane.subspan(static_cast<std::size_t>((y + row) * page.width + x),
                                static_cast<std::size_t>(columns)));
  };
  const std::size_t plane = planes.size() / page.kept.size();
  for (std::int64_t y = 0; y < page.height; y += pieces.height()) {
    for (std::int64_t x = 0; x < page.width; x += pieces.width()) {
      for (std::size_t channel = 0; channel < page.kept.size(); ++channel) {
        if (channel == 0 || !page.interleaved) pieces.read(y, x, page.kept[channel]);
        take(y, x, page.kept[channel], planes.subspan(channel * plane, plane));
      }
    }
  }
}

/// So that 0 is black, and the most that fewer than 8 bits can hold is white.
template <class T>
void stretch(const TiffPage& page, std::span<T> values) {
  if constexpr (std::is_integral_v<T>) {
    const bool inverted = page.photometric == PHOTOMETRIC_MINISWHITE;
    const unsigned most = (1U << page.bits) - 1, white = page.bits < 8 ? 255 : most;
    if (!inverted && most == white) return;
    for (T& value : values) value = static_cast<T>((inverted ? most - value : value) * white / most);
  }
}

/// A colour of a palette has 16 bits, in files of some programs 8.
Image through_palette(const TiffFile& file, const TiffPage& page, const Image& numbers) {
  std::array<const std::uint16_t*, 3> palette{};
  if (TIFFGetField(file.get(), TIFFTAG_COLORMAP, &palette[0], &palette[1], &palette[2]) == 0)
    throw TiffProblem("it has no palette");
  const bool has_16_bits = std::any_of(palette.begin(), palette.end(), [&](const std::uint16_t* colours) {
    return std::any_of(colours, colours + (std::size_t{1} << page.bits),
                       [](unsigned colour) { return colour > 255; });
  });
  Image image{{data::PixelType::u8, 3, page.height, page.width}, {}};
  image.pixels.reserve(3 * numbers.pixels.size());
  for (const std::uint16_t* colours : palette) {
    for (const std::byte number : numbers.pixels)
      image.pixels.push_back(
          static_cast<std::byte>(colours[std::to_integer<int>(number)] >> (has_16_bits ? 8 : 0)));
  }
  return image;
}

Image as_stored(const TiffFile& file, const TiffPage& page) {
  Image image{{page.type, std::ssize(page.kept), page.height, page.width}, {}};
  image.pixels.resize(static_cast<std::size_t>(image.layout.bytes()));
  change_pixels(image, [&](auto planes) { read_planes(file, page, planes); });
  if (page.photometric == PHOTOMETRIC_PALETTE) return through_palette(file, page, image);
  change_pixels(image, [&](auto values) { stretch(page, values); });
  return image;
}

Image converted(const TiffFile& file, const TiffPage& page) {
  char reason[1024] = "";
  if (TIFFRGBAImageOK(file.get(), reason) == 0) throw TiffProblem(reason);
  std::vector<std::uint32_t> raster(static_cast<std::size_t>(page.height * page.width));
  // As it is stored: turned it is by upright().
  const auto orientation = file.field<std::uint16_t>(TIFFTAG_ORIENTATION);
  const auto height = static_cast<std::uint32_t>(page.height), width = static_cast<std::uint32_t>(page.width);
  if (TIFFReadRGBAImageOriented(file.get(), width, height, raster.data(), orientation, 1) == 0)
    TiffFile::refuse_damage();
  Image image{{data::PixelType::u8, 3, page.height, page.width}, {}};
  image.pixels.reserve(3 * raster.size());
  for (const int shift : {0, 8, 16}) {
    for (const std::uint32_t colours : raster)
      image.pixels.push_back(static_cast<std::byte>(colours >> shift));
  }
  image.remarks.converted = page.photometric == PHOTOMETRIC_SEPARATED;
  return image;
}

int tiff_orientation(const TiffFile& file) {
  std::uint16_t orientation = 1;
  if (TIFFGetField(file.get(), TIFFTAG_ORIENTATION, &orientation) != 0) return orientation;
  return orientation_of("", file.bytes_of(TIFFTAG_XMLPACKET));
}

}  // namespace

Image read_page(const TiffFile& file) {
  const TiffPage page(file);
  check_size(file, page, page.height, page.width);
  Image image = page.is_converted() ? converted(file, page) : as_stored(file, page);
  if (TiffFile::lost_pixels()) throw TiffProblem("its data are damaged or end too early");
  image.remarks.alpha = std::ssize(page.kept) < page.samples;
  image.remarks.profile = !file.bytes_of(TIFFTAG_ICCPROFILE).empty();
  return upright(std::move(image), tiff_orientation(file));
}

Image decode_tiff(std::string_view content, const std::string& where) {
  try {
    return read_page(TiffFile(content));
  } catch (const TiffProblem& problem) {
    fail_decoding(std::string("TIFF: ") + problem.what(), where);
  }
}

}  // namespace cohort::data_prep
