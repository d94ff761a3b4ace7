#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data_prep/field_source.h"
#include "data_prep/options.h"

namespace cohort::data_prep {

/// x0, y0, x1, y1 in pixels from the upper left corner of an image.
using Corners = std::array<double, 4>;

/// A box of an annotation as its image of height x width can have it: what rounding leaves outside, up to a
/// pixel, is cut off. Throws DataError naming `where`: further outside, or it ends before it begins.
Corners inside_image(Corners box, std::int64_t height, std::int64_t width, const std::string& where);

/// Reads an image that annotations tell of. Throws DataError, also when they tell of another height or width.
Image read_annotated_image(const std::filesystem::path& file, std::int64_t height, std::int64_t width);

/// Appends a row of a field of boxes.
void add_box(std::vector<float>& boxes, const Corners& box, std::int64_t type);

/// Rows [n, 5] as they are stored, after `change`.
std::vector<std::byte> box_values(const std::vector<float>& boxes, const ImageChange& change);

/// A box [n, 5] around each instance of a mask, by their numbers: from its first pixel to behind its last.
/// What is 0 or not known is no instance. Its class is what most of its pixels are in `classes`, of several
/// the lowest; without `classes` 0. Both have one size.
std::vector<float> boxes_of_instances(const Mask& instances, const Mask* classes);

/// Appends the fields that FieldOptions::boxes_of names to those with their masks. Throws UsageError.
void add_instance_boxes(std::vector<FieldSource>& fields, const FieldOptions& options,
                        const ConvertOptions& common);

}  // namespace cohort::data_prep
