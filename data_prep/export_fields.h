#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "cohort/data/dataset.h"

namespace cohort::data_prep {

/// Whether the rows of a field become files: those of images and masks; others stand in images.csv.
bool is_exported_as_files(const data::Field& field);

/// "png" where a viewer knows what the channels are, else "npy".
std::string file_format_of(const data::Field& field);

/// The content of the file of a row. Precondition: is_exported_as_files().
std::string file_content(const data::Field& field, std::span<const std::byte> values);

/// Names of the columns of images.csv that hold a field: its own; of numbers and flags those of its values,
/// with the field's before them where `taken` has them. Adds them to `taken`.
std::vector<std::string> field_columns(const data::Field& field, std::set<std::string>& taken);

/// Their cells, as `convert manifest` reads them. Precondition: not is_exported_as_files().
std::vector<std::string> field_cells(const data::Field& field, std::span<const std::byte> values);

/// A .npy file, version 1.0 (numpy.lib.format): a header padded to 64 bytes, then the values. `type`: "<f4".
std::string npy_file(const std::string& type, const std::vector<std::int64_t>& shape,
                     std::span<const std::byte> values);

}  // namespace cohort::data_prep
