#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cohort/data/field.h"

#include "data_prep/mask.h"
#include "data_prep/token_options.h"

namespace cohort::data_prep {

/// A field of the images of a source.
struct FieldSource {
  data::Field field;  ///< its type and shape are those of `shaped`, where there is one
  /// The values of a row of `field`, after `change`. Throws DataError.
  std::function<std::vector<std::byte>(const data::Field& field, std::int64_t index,
                                       const ImageChange& change)>
      values;
  /// The field with type and shape as an image has them. May be empty. Throws DataError.
  std::function<data::Field(std::int64_t index, const ImageChange& change)> shaped{};
  /// The file that values are read from, and what tells apart values that are in none, asked on one rank: as
  /// of Source. May be empty.
  std::function<std::filesystem::path(std::int64_t index)> path{};
  std::function<std::uint64_t()> content{};
  /// What is to be said of the values that were read last; null: nothing ever.
  std::shared_ptr<const Remarks> remarks{};
};

/// Boxes [n, 5] or points [n, 3] (`width`: 5 or 3). Of boxes that the preparation crops what is left; boxes
/// and points of which nothing is left go.
std::vector<float> moved(const std::vector<float>& places, std::size_t width, const ImageChange& change);

/// Which columns of a table, or folders beside the images, hold fields.
struct FieldOptions {
  TokenOptions tokens;
  std::array<std::vector<std::string>, 9> sources;  ///< by kind: "COLUMN=NAME"; of numbers "a,b=NAME"
  std::vector<std::string> codecs;                  ///< "NAME=zstd"
  std::vector<std::string> boxes_of;                ///< "MASK", "MASK,CLASSES" or "MASK,CLASSES=NAME"
  std::vector<std::string> mask_values;             ///< "NAME=0,255"

  /// `what` the texts name: "column" or "folder"; folders hold files: images, masks, boxes, points and texts.
  void add_to(CLI::App& command, const std::string& what);
  void add_codecs_to(CLI::App& command);  ///< --field-codec alone
  void add_masks_to(CLI::App& command);   ///< masks of folders, --mask-values and --field-codec
  /// How the values of a field are to be kept. Throws UsageError.
  [[nodiscard]] data::Codec codec_of(const std::string& field) const;
  /// Those of --mask-values; empty: none are named. Throws UsageError.
  [[nodiscard]] MaskValues mask_values_of(const std::string& field) const;
  [[nodiscard]] const std::vector<std::string>& of(data::FieldKind kind) const {
    return sources.at(static_cast<std::size_t>(kind));
  }
};

/// What the columns of a field hold for an image.
struct FieldCells {
  std::vector<std::string> columns;
  std::int64_t images = 0;
  std::function<std::vector<std::string>(std::int64_t index)> of;  ///< one a column
  std::function<std::string(std::int64_t index)> place;            ///< for messages
  std::filesystem::path root;                                      ///< that files are below
  bool are_files = false;  ///< boxes, points and texts stand in files that the cells name
};

/// The field of a text of FieldOptions. `classes`: names of its classes, if any. Boxes and points are JSON,
/// or the names of files with it. Throws UsageError.
FieldSource field_of_cells(data::FieldKind kind, const std::string& name, std::vector<std::string> classes,
                           const FieldOptions& options, FieldCells cells);

/// Masks that `read` gives, changed as their images; `file`: where that of an image comes from.
struct MaskReader {
  std::function<Mask(std::int64_t index)> read;
  std::function<std::filesystem::path(std::int64_t index)> file;
  MaskValues values{};  ///< of the files that are the classes
};
/// `field`: its name, codec, and the names of its classes.
FieldSource field_of_masks(data::Field field, const MaskReader& masks);

/// The columns and the name of a text of FieldOptions: "age,height=body", "report".
std::pair<std::vector<std::string>, std::string> columns_and_name(data::FieldKind kind,
                                                                  const std::string& text);

}  // namespace cohort::data_prep
