#include "cohort/core/printable.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include "cohort/core/error.h"

namespace cohort {
namespace {

constexpr char32_t kNonJoiner = 0x200C, kJoiner = 0x200D;

struct Character {
  char32_t point;
  std::size_t bytes;  // 0: not UTF-8
};

/// The one at the beginning of a text that is not empty (RFC 3629: no surrogates, no longer forms).
Character first_character(std::string_view text) noexcept {
  const auto first = static_cast<unsigned char>(text.front());
  if (first < 0x80) return {first, 1};
  const auto size = static_cast<std::int32_t>(std::min<std::size_t>(text.size(), U8_MAX_LENGTH));
  std::int32_t bytes = 0;
  UChar32 point = 0;
  U8_NEXT(text.data(), bytes, size, point);
  if (point < 0) return {first, 0};
  return {static_cast<char32_t>(point), static_cast<std::size_t>(bytes)};
}

bool is_of(char32_t point, std::uint32_t categories) noexcept {
  return (U_GET_GC_MASK(static_cast<UChar32>(point)) & categories) != 0;
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

/// Not what turns the direction of writing, breaks lines or is not seen, but for the joiners that scripts and
/// emoji need.
bool is_printable(const Character& character) noexcept {
  if (character.bytes == 0 || character.point == kNonJoiner || character.point == kJoiner)
    return character.bytes > 0;
  return !is_of(character.point, U_GC_CC_MASK | U_GC_CF_MASK | U_GC_ZL_MASK | U_GC_ZP_MASK);
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
  constexpr char32_t kSoftHyphen = 0xAD;
  if (character.bytes == 0 || character.point == kSoftHyphen || is_of(character.point, U_GC_CN_MASK))
    return 1;
  if (is_of(character.point, U_GC_M_MASK | U_GC_CC_MASK | U_GC_CF_MASK | U_GC_ZL_MASK | U_GC_ZP_MASK))
    return 0;
  const int width = u_getIntPropertyValue(static_cast<UChar32>(character.point), UCHAR_EAST_ASIAN_WIDTH);
  return width == U_EA_WIDE || width == U_EA_FULLWIDTH ? 2 : 1;
}

}  // namespace

void append_utf8(std::string& text, std::uint32_t point) {
  constexpr char kNotUtf8 = '\xFF';
  if (point > UCHAR_MAX_VALUE || U_IS_SURROGATE(point)) return void(text += kNotUtf8);
  std::array<char, U8_MAX_LENGTH> bytes{};
  std::size_t count = 0;
  U8_APPEND_UNSAFE(bytes, count, point);
  text.append(bytes.data(), count);
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

std::string folded(std::string_view text) {
  if (!is_utf8(text)) return std::string(text);
  std::string result;
  icu::StringByteSink<std::string> sink(&result);
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* const form = icu::Normalizer2::getNFKCCasefoldInstance(status);
  if (U_SUCCESS(status))
    form->normalizeUTF8(0, {text.data(), static_cast<std::int32_t>(text.size())}, sink, nullptr, status);
  COHORT_CHECK(U_SUCCESS(status), "ICU: {}", u_errorName(status));
  return result;
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
