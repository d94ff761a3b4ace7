#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <tiffio.h>

#include "cohort/core/file.h"
#include "cohort/core/handle.h"
#include "cohort/data/description.h"

#include "data_prep/image.h"

namespace cohort::data_prep {

/// Why a TIFF file is not read; decode_tiff() says which file.
struct TiffProblem : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A TIFF file. All throw TiffProblem.
class TiffFile {
 public:
  /// In memory, opened at its one page: smaller copies and masks beside it are none. `content` outlives it.
  explicit TiffFile(std::string_view content);
  /// On the disk, of which only what is asked for is read, opened at its first page. Throws DataError, too.
  explicit TiffFile(const std::filesystem::path& file);
  TiffFile(const TiffFile&) = delete;
  TiffFile& operator=(const TiffFile&) = delete;

  [[nodiscard]] TIFF* get() const noexcept { return tiff_.get(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// From 0 on, all pages of the file.
  void open_page(std::int64_t page);
  /// ImageDescription of the page that is open; empty: it has none.
  [[nodiscard]] std::string description() const;

  /// The value of a tag that has one; that of the standard, or 0, where the file has none.
  template <class Value>
  [[nodiscard]] Value field(ttag_t tag) const {
    Value value{};
    TIFFGetFieldDefaulted(get(), tag, &value);
    return value;
  }
  /// The value of a tag that is a number of bytes; empty: the file has none.
  [[nodiscard]] std::string_view bytes_of(ttag_t tag) const;

  /// With what libtiff said last. A strip or tile of JPEG data that misses pixels is only warned of by
  /// libtiff.
  [[noreturn]] static void refuse_damage();
  static bool lost_pixels();

 private:
  struct Close {
    using type = TIFF*;
    static type null() noexcept { return nullptr; }
    static void close(type tiff) noexcept { TIFFClose(tiff); }
  };

  void open();
  void choose_page();
  tsize_t read_at(std::size_t offset, std::span<std::byte> out) const;
  [[nodiscard]] bool has_sub_directory() const;
  static tsize_t read(thandle_t file, void* out, tsize_t count);
  static toff_t seek(thandle_t file, toff_t offset, int from);

  std::string_view content_;
  FileDescriptor file_;  // none: the file is in memory
  std::size_t bytes_, at_ = 0;
  std::int64_t page_ = 0;  // of open_page(); -1: not known
  Handle<Close> tiff_;
};

/// How the page is stored. Only what can be read without a guess and without loss.
struct TiffPage {
  explicit TiffPage(const TiffFile& file);

  /// Colours of a pixel, before the samples that are none.
  [[nodiscard]] std::int64_t colours() const;
  /// Whether libtiff makes RGB of its colours.
  [[nodiscard]] bool is_converted() const;

  std::uint16_t photometric = 0, bits = 0;  ///< bits of a sample
  std::int64_t height, width, samples;      ///< samples of a pixel
  bool interleaved;                         ///< those of a pixel lie together
  data::PixelType type = data::PixelType::u8;
  std::vector<std::int64_t> kept{};  ///< samples that become channels: all but alpha

 private:
  [[nodiscard]] data::PixelType pixel_type(const TiffFile& file) const;
  [[nodiscard]] std::vector<std::int64_t> kept_samples(const TiffFile& file) const;
  [[nodiscard]] bool has_known_meaning() const;
};

/// The page that is open, upright.
Image read_page(const TiffFile& file);

}  // namespace cohort::data_prep
