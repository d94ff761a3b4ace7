#include "cohort/core/printable.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace cohort {
namespace {

struct Range {
  char32_t first, last;
};

/// What turns the direction of writing, breaks lines or is not seen: Unicode 15, general categories Cc, Cf,
/// Zl and Zp, without the joiners that scripts and emoji need.
constexpr std::array<Range, 10> kUnseen{{{0x80, 0x9F},
                                         {0xAD, 0xAD},
                                         {0x61C, 0x61C},
                                         {0x200B, 0x200B},
                                         {0x200E, 0x200F},
                                         {0x2028, 0x202E},
                                         {0x2060, 0x206F},
                                         {0xFEFF, 0xFEFF},
                                         {0xFFF9, 0xFFFB},
                                         {0xE0000, 0xE007F}}};

/// East Asian Width W and F (Unicode Standard Annex 11), in blocks.
constexpr std::array<Range, 11> kWide{{{0x1100, 0x115F},
                                       {0x2E80, 0x303E},
                                       {0x3041, 0x4DBF},
                                       {0x4E00, 0xA4CF},
                                       {0xAC00, 0xD7A3},
                                       {0xF900, 0xFAFF},
                                       {0xFE30, 0xFE6F},
                                       {0xFF01, 0xFF60},
                                       {0xFFE0, 0xFFE6},
                                       {0x1F300, 0x1FAFF},
                                       {0x20000, 0x3FFFD}}};

/// Marks that stand above or below the character before them, joiners and variation selectors.
constexpr std::array<Range, 7> kWithoutWidth{{{0x300, 0x36F},
                                              {0x1AB0, 0x1AFF},
                                              {0x1DC0, 0x1DFF},
                                              {0x200C, 0x200D},
                                              {0x20D0, 0x20FF},
                                              {0xFE00, 0xFE0F},
                                              {0xFE20, 0xFE2F}}};

template <std::size_t Count>
bool is_in(const std::array<Range, Count>& ranges, char32_t point) noexcept {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const Range& range) { return point >= range.first && point <= range.last; });
}

struct Character {
  char32_t point;
  std::size_t bytes;  // 0: not UTF-8
};

/// The one at the beginning of a text that is not empty (RFC 3629: no surrogates, no longer forms).
Character first_character(std::string_view text) noexcept {
  constexpr std::array<char32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC0 || first > 0xF4 || bytes > text.size()) return {first, 0};
  char32_t point = first & (0x7FU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {first, 0};
    point = point << 6 | (byte(i) & 0x3FU);
  }
  const bool fits = point >= kLeast.at(bytes) && point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
  return {fits ? point : first, fits ? bytes : 0};
}

std::string escaped(const Character& character) {
  if (character.bytes == 0 || character.point < 0x80) {
    if (character.point == '\n') return "\\n";
    if (character.point == '\r') return "\\r";
    if (character.point == '\t') return "\\t";
    return fmt::format("\\x{:02x}", static_cast<unsigned>(character.point));
  }
  return fmt::format("\\u{:04x}", static_cast<unsigned>(character.point));
}

bool is_printable(const Character& character) noexcept {
  const bool is_control = character.point < 0x20 || character.point == 0x7F;
  return character.bytes > 0 && !is_control && !is_in(kUnseen, character.point);
}

std::string escape_all(std::string_view text, std::string_view kept) {
  std::string shown;
  while (!text.empty()) {
    const Character character = first_character(text);
    const std::size_t bytes = std::max<std::size_t>(character.bytes, 1);
    const bool stays = is_printable(character) || kept.find(text.front()) != std::string_view::npos;
    shown += stays ? std::string(text.substr(0, bytes)) : escaped(character);
    text.remove_prefix(bytes);
  }
  return shown;
}

std::size_t width_of(const Character& character) noexcept {
  if (is_in(kWithoutWidth, character.point)) return 0;
  return is_in(kWide, character.point) ? 2 : 1;
}

struct Decomposition {
  char32_t whole, first, second;
};

constexpr auto kDecompositions = std::to_array<Decomposition>({
#include "core/decompositions.inc"
});

/// Syllables of Hangul: two or three letters (Unicode Standard, 3.12).
void append_hangul(std::string& text, char32_t syllable) {
  constexpr char32_t kVowels = 21, kTails = 28;
  append_utf8(text, 0x1100 + syllable / (kVowels * kTails));
  append_utf8(text, 0x1161 + syllable % (kVowels * kTails) / kTails);
  if (syllable % kTails != 0) append_utf8(text, 0x11A7 + syllable % kTails);
}

void append_decomposed(std::string& text, char32_t point) {
  constexpr char32_t kHangul = 0xAC00, kSyllables = 11172;
  if (point >= kHangul && point < kHangul + kSyllables) return append_hangul(text, point - kHangul);
  const auto* const found =
      std::lower_bound(kDecompositions.begin(), kDecompositions.end(), point,
                       [](const Decomposition& entry, char32_t value) { return entry.whole < value; });
  if (found == kDecompositions.end() || found->whole != point) return append_utf8(text, point);
  append_decomposed(text, found->first);
  append_utf8(text, found->second);
}

}  // namespace

void append_utf8(std::string& text, std::uint32_t point) {
  if (point < 0x80) {
    text += static_cast<char>(point);
  } else if (point < 0x800) {
    text += {static_cast<char>(0xC0 | point >> 6), static_cast<char>(0x80 | (point & 0x3F))};
  } else if (point < 0x10000) {
    text += {static_cast<char>(0xE0 | point >> 12), static_cast<char>(0x80 | (point >> 6 & 0x3F)),
             static_cast<char>(0x80 | (point & 0x3F))};
  } else {
    text += {static_cast<char>(0xF0 | point >> 18), static_cast<char>(0x80 | (point >> 12 & 0x3F)),
             static_cast<char>(0x80 | (point >> 6 & 0x3F)), static_cast<char>(0x80 | (point & 0x3F))};
  }
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const std::size_t bytes = first_character(text).bytes;
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string printable(std::string_view text) {
  return escape_all(text, "");
}

std::string printable_lines(std::string_view text) {
  return escape_all(text, "\n\t");
}

std::string decomposed(std::string_view text) {
  std::string all;
  while (!text.empty()) {
    const Character character = first_character(text);
    const std::size_t bytes = std::max<std::size_t>(character.bytes, 1);
    if (character.bytes < 2)
      all += text.front();
    else
      append_decomposed(all, character.point);
    text.remove_prefix(bytes);
  }
  return all;
}

std::size_t display_width(std::string_view text) noexcept {
  std::size_t width = 0;
  while (!text.empty()) {
    const Character character = first_character(text);
    width += width_of(character);
    text.remove_prefix(std::max<std::size_t>(character.bytes, 1));
  }
  return width;
}

std::string printable_name(std::string_view name, std::size_t columns) {
  // What lies far behind the cut need not be escaped: a character has at most four bytes and few marks.
  constexpr std::size_t kMostBytes = 64;
  const std::string whole = printable(name.substr(0, columns * kMostBytes));
  if (display_width(whole) <= columns && name.size() <= columns * kMostBytes) return whole;
  std::size_t kept = 0, width = 0;
  while (kept < whole.size()) {
    const Character character = first_character(std::string_view(whole).substr(kept));
    width += width_of(character);
    if (width >= columns) break;
    kept += std::max<std::size_t>(character.bytes, 1);
  }
  return whole.substr(0, kept) + "…";
}

std::string left_aligned(std::string_view text, std::size_t columns) {
  const std::size_t width = display_width(text);
  return std::string(text) + std::string(columns - std::min(width, columns), ' ');
}

std::string right_aligned(std::string_view text, std::size_t columns) {
  const std::size_t width = display_width(text);
  return std::string(columns - std::min(width, columns), ' ') + std::string(text);
}

}  // namespace cohort
