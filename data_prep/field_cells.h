#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::data_prep {

// What cells of a table, or files beside images, say of an image. All throw DataError naming `where`.

/// JSON: a list of boxes [x0, y0, x1, y1, class] (`numbers`: 4) or points [x, y, class] (2). The class is one
/// of the names `classes` or its number; without it -1, not known. Empty text: none. Returns what Field says.
std::vector<float> parse_places(std::string_view json, std::size_t numbers,
                                const std::vector<std::string>& classes, const std::string& where);

/// A number each; empty or NaN: not known.
std::vector<float> parse_numbers(std::span<const std::string> cells, const std::string& where);

/// 0, no, false or 1, yes, true each; empty: not known, 255.
std::vector<std::uint8_t> parse_flags(std::span<const std::string> cells, const std::string& where);

/// Integers ≥ 0 with blanks between them.
std::vector<std::int32_t> parse_tokens(std::string_view cell, const std::string& where);

/// Finite numbers with blanks between them.
std::vector<float> parse_vector(std::string_view cell, const std::string& where);

}  // namespace cohort::data_prep
