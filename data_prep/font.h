#pragma once
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace cohort::data_prep {

// Letters for pictures, all of one size. ASCII and Latin-1; others are boxes.
constexpr int kLetterWidth = 6, kLetterHeight = 13;  // pixels

/// Letters of UTF-8 text, one code point each.
std::vector<std::string_view> letters_of(std::string_view text);

/// Calls `dot` for every dark pixel of one line of UTF-8 text, whose top left corner is (0, 0).
void draw_text(std::string_view text, const std::function<void(std::int64_t y, std::int64_t x)>& dot);

}  // namespace cohort::data_prep
