#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cohort/data/dataset_writer.h"

#include "data_prep/field_source.h"
#include "data_prep/image.h"
#include "data_prep/left_out.h"
#include "data_prep/options.h"
#include "data_prep/texts.h"

namespace cohort::data_prep {

/// A column of texts, one for each image; an empty text in a label means that the image has none.
struct Column {
  std::string name;
  Categories values;
  std::vector<std::string>
      vocabulary{};  ///< order of a label's classes; empty: by value, unless --classes says
};

/// What a converter found, the same on every rank. Texts of images are best given as functions, which take no
/// memory. Ranks besides the first need neither `splits` nor the values of columns, and may have none.
struct Source {
  std::string where;  ///< for messages: file or folder
  Texts ids;          ///< one an image, unique
  Categories splits;  ///< one an image, or none at all
  std::vector<Column> labels, contexts;
  std::vector<FieldSource> fields{};
  Column groups{};  ///< for --group-by alone: neither a label nor a context; without a name: there is none
  std::vector<std::string>
      channels{};            ///< names; empty, or of another number than the images have: usual ones
  std::string statistics{};  ///< the split to train on, where the source knows it; empty: see make_plan()
  /// What was done to the images before they came here; nothing: not known.
  std::optional<data::Preparation> preparation = data::Preparation{};
  std::uint64_t content = 0;  ///< tells inputs apart, besides `path` and `archives`
  std::string axes{};         ///< how arrays are read, where the user says so: axes.h
  std::function<Image(std::int64_t index)> image;
  /// The file that an image comes from, whole; JPEG files can be kept as they are. May be empty.
  std::function<std::string(std::int64_t index)> file{};
  /// The path of an image that is a file of its own, and those of files with many: what of them tells whether
  /// they have changed (fingerprint_of()). May be empty.
  std::function<std::filesystem::path(std::int64_t index)> path{};
  std::vector<std::filesystem::path> archives{};
  /// Where an image comes from, "slides.csv:12", for messages. May be empty.
  std::function<std::string(std::int64_t index)> place{};
  LeftOut left_out{};  ///< rank 0 may know more than the others
};

/// Gives `source` its splits, labels and contexts: what `read(column, option)` returns for each column that
/// `columns` names; `option` is for messages.
void read_columns(
    Source& source, const ColumnOptions& columns,
    const std::function<Categories(const std::string& column, const std::string& option)>& read);

/// Reads the column that --group-by names where it is no context of `source`. `read` as above.
void read_groups(Source& source, const ConvertOptions& options,
                 const std::function<Categories(const std::string& column, const std::string& option)>& read);

/// Collective. Writes `source` as a dataset, or tells what it would write, and what was left out. When
/// `options.out` holds the same conversion of the same inputs already, says so and returns. Throws on all
/// ranks alike.
ExitCode convert(const Source& source, const ConvertOptions& options, comm::Communicator& ranks);

/// The images and fields of `description` as they will be stored. Throws DataError for an image of another
/// layout. `remarks` are those of the image that was read last. What is referred to has to outlive it. For
/// one thread.
data::PixelSource pixel_source(const Source& source, const ConvertOptions& options,
                               const data::Description& description, Remarks& remarks);

/// JPEG files are JPEG images already, unless something is to be done to them.
bool keeps_jpeg_files(const Source& source, const ConvertOptions& options);

/// What the options do to an image that is `before`.
ImageChange change_of(const ConvertOptions& options, const data::ImageLayout& before);

/// The fields of a source with type and shape, as image `index` has them after `change`. Throws DataError.
std::vector<data::Field> shaped_fields(const Source& source, const ImageChange& change, std::int64_t index);

/// One of them, as the layout says, into `out` (layout.bytes()). From any thread. Throws as above.
Remarks store_prepared(const Source& source, const ConvertOptions& options, const data::ImageLayout& layout,
                       std::int64_t index, std::span<std::byte> out);

/// `image`, number `index` of the source, as it will be stored: gray, resized. Throws DataError.
Image prepared(const Source& source, const ConvertOptions& options, std::int64_t index, const Image& image);

/// "3 channels, 96 x 96, u8", of volumes "1 channel, 32 x 96 x 96, f32".
std::string layout_text(const data::ImageLayout& layout);

/// Of images whose channels nothing names.
std::vector<std::string> usual_channel_names(std::int64_t channels);

/// Description (names, vocabularies, splits; no layout yet) and rows. Mean and deviation will be of the split
/// that the options name, else of train or training, else of the one that the source or its order has first.
/// Throws UsageError or DataError.
struct Plan {
  data::Description description;
  data::RowTable rows;
};
Plan make_plan(const Source& source, const ConvertOptions& options);

}  // namespace cohort::data_prep
