#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data_prep/field_source.h"

namespace cohort::data_prep {

/// Pixels of an image column by column, each from its top: how many lie outside of a region, how many then
/// inside, outside … as COCO stores them. All together height x width.
using RunLengths = std::vector<std::int64_t>;

/// COCO's text of them: numbers in groups of five bits, lowest first, from the third on each less the one
/// before the last (pycocotools, common/maskApi.c, rleFrString). Throws DataError naming `where`: another
/// text, or numbers of other than `pixels` pixels.
RunLengths parse_run_lengths(std::string_view text, std::int64_t pixels, const std::string& where);

/// The same numbers, of a list. Throws DataError naming `where`.
RunLengths checked_run_lengths(RunLengths runs, std::int64_t pixels, const std::string& where);

/// Pixels that pycocotools draws of a polygon of corners x, y, x, y … (common/maskApi.c, rleFrPoly): corners
/// are rounded to fifths of a pixel, and a column begins and ends where the outline crosses its middle.
/// Outlines that cross themselves are filled by the even-odd rule. Throws DataError naming `where`: less than
/// three corners, half a corner, or one further outside than the image is large.
RunLengths runs_of_polygon(std::span<const double> corners, std::int64_t height, std::int64_t width,
                           const std::string& where);

/// Gives the pixels inside `value`. Precondition: runs of as many pixels as the mask has.
void paint(const RunLengths& runs, std::int32_t value, Mask& mask);

}  // namespace cohort::data_prep
