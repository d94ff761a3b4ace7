#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/data/field.h"

namespace cohort::comm {
class Communicator;
}

namespace cohort::data {

enum class PixelType { u8, u16, f32 };

/// "u8", "u16", "f32".
std::string_view pixel_type_name(PixelType type) noexcept;

/// Layout of one image as it is read, row-major: [C, H, W], of a volume [C, D, H, W]. One for the whole
/// dataset.
struct ImageLayout {
  PixelType type = PixelType::u8;
  std::int64_t channels = 1, height = 0, width = 0;
  std::int64_t depth = 1;  ///< slices of a volume; 1: an image
  [[nodiscard]] std::int64_t values() const noexcept { return channels * depth * height * width; }
  [[nodiscard]] std::int64_t bytes() const noexcept;
  [[nodiscard]] bool is_volume() const noexcept { return depth > 1; }
  /// [C, H, W], of a volume [C, D, H, W].
  [[nodiscard]] std::vector<std::int64_t> sizes() const;
  friend bool operator==(const ImageLayout&, const ImageLayout&) = default;
};

/// How an image comes to the size of the dataset. `stretch`: each axis by itself, the aspect ratio is not
/// kept; `crop`: the axis that needs it most fits, what the others have too much is cut off, half on each
/// side; `pad`: the axis that needs it least fits, what the others lack is 0, half on each side.
enum class Fit { stretch, crop, pad };

/// "stretch", "crop", "pad".
std::string_view fit_name(Fit fit) noexcept;
std::optional<Fit> fit_of(std::string_view name) noexcept;

/// What was done to the images of a dataset before they were stored, in this order, so that others can be
/// made like them.
struct Preparation {
  bool gray = false;                   ///< colour became gray
  std::int64_t height = 0, width = 0;  ///< that they were resized to; 0: they were not
  Fit fit = Fit::stretch;
  std::int64_t depth = 0;  ///< that volumes were resized to; 0: they were not along this axis
  friend bool operator==(const Preparation&, const Preparation&) = default;
};

/// A label every row may have. Stored as i32 class index, -1 where a row has none.
struct LabelColumn {
  std::string name;
  std::vector<std::string> classes;  ///< class i is called classes[i]
};

/// A context key (hospital, plate, module …) and its vocabulary. Stored as i32 index; every row has one.
struct ContextColumn {
  std::string name;
  std::vector<std::string> values;
};

/// One HDF5 file. Rows are sorted by context; a context may span shards.
struct ShardEntry {
  std::string file;  ///< relative to the dataset's folder
  std::int64_t rows = 0;
  std::uint64_t bytes = 0;
  std::uint64_t checksum = 0;  ///< of the whole file
};

struct Split {
  std::string name;  ///< "train", "test" …
  std::vector<ShardEntry> shards;
  [[nodiscard]] std::int64_t rows() const noexcept;
};

/// dataset.json: everything about a dataset but its rows. docs/formats/dataset.md gives every key.
struct Description {
  static constexpr int kVersion = 3;  ///< the newest
  std::string name;
  ImageLayout images;
  Codec codec = Codec::raw;
  int jpeg_quality = 0;               ///< 1 … 100 with Codec::jpeg
  std::vector<std::string> channels;  ///< names, one per channel
  /// Per channel, in stored units, over the rows of the split `statistics`; the deviation of a constant
  /// channel counts as 1.
  std::vector<double> mean, deviation;
  std::string statistics;  ///< the name of a split: that to train on
  std::vector<LabelColumn> labels;
  std::vector<ContextColumn> contexts;
  std::vector<Field> fields;  ///< what rows have besides; see Dataset::read_field()
  std::vector<Split> splits;
  std::string license;                     ///< of the images, as given at conversion; may be empty
  std::optional<Preparation> preparation;  ///< nothing: not known
  std::uint64_t source = 0;                ///< checksum of options and inputs of the conversion; 0: not known

  /// Throws DataError: no such folder, no dataset.json, bad JSON, unknown version, missing or inconsistent
  /// keys.
  static Description read(const std::filesystem::path& folder);
  /// Collective. The same, read by rank 0 alone; a rank that has a copy of its own, on a disk of its host,
  /// reads that too, and UsageError tells when it says something else. Throws on all ranks alike.
  static Description read(const std::filesystem::path& folder, comm::Communicator& ranks);
  void write(
      const std::filesystem::path& folder) const;  ///< atomically; throws DataError, also as check_names()
  /// Throws DataError for a name that is not UTF-8, or stands twice in its list; a field may not be called
  /// like a label or context either.
  void check_names() const;

  /// Of the format: 3 with fields or volumes, 2 with a codec, else 1, which older programs read.
  [[nodiscard]] int version() const noexcept {
    return !fields.empty() || images.is_volume() ? 3 : (codec == Codec::raw ? 1 : 2);
  }
  /// These throw UsageError naming the known ones ("did you mean").
  [[nodiscard]] const Split& split(std::string_view name) const;
  [[nodiscard]] const LabelColumn& label(std::string_view name) const;
  [[nodiscard]] const ContextColumn& context(std::string_view name) const;
  [[nodiscard]] const Field& field(std::string_view name) const;
  [[nodiscard]] bool has_label(std::string_view name) const noexcept;
  /// Classes of a label column, or the values of a context; a label where both have the name.
  [[nodiscard]] const std::vector<std::string>& values(std::string_view column) const;
};

/// What contradicts between a field and the images of its dataset, of which it tells: masks of volumes are
/// [D, H, W], those of images [H, W]; boxes and points lie in images. Empty: nothing does.
std::string problem_beside(const Field& field, const ImageLayout& images);

/// For what takes images alone, called `who`. Throws UsageError when those of `dataset` are volumes.
void check_images_alone(const ImageLayout& images, const std::string& dataset, const std::string& who);

/// The names among `known` that `wanted` means: a number stands for "channel_<number>", as conversions call
/// those without a name. Throws UsageError, naming `where`: no such channel, or one of them twice.
std::vector<std::string> channels_named(const std::vector<std::string>& wanted,
                                        const std::vector<std::string>& known, const std::string& where);

/// `description` of the images with these channels alone, in this order; all of them when `channels` is
/// empty. Throws UsageError (channels_named()).
Description with_channels(Description description, const std::vector<std::string>& channels);

/// Those of `splits` that have images; a warning names each of the others. Throws UsageError: no such split.
std::vector<std::string> with_images(const Description& description, const std::vector<std::string>& splits);

}  // namespace cohort::data
