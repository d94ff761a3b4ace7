#include "cohort/core/printable.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include <fmt/format.h>
#include <utf8proc.h>

namespace cohort {
namespace {

constexpr char32_t kNonJoiner = 0x200C, kJoiner = 0x200D;

struct Character {
  char32_t point;
  std::size_t bytes;  // 0: not UTF-8
};

const utf8proc_uint8_t* bytes_of(std::string_view text) noexcept {
  const void* const bytes = text.data();
  return static_cast<const utf8proc_uint8_t*>(bytes);
}

/// The one at the beginning of a text that is not empty (RFC 3629: no surrogates, no longer forms).
Character first_character(std::string_view text) noexcept {
  const auto first = static_cast<unsigned char>(text.front());
  if (first < 0x80) return {first, 1};
  utf8proc_int32_t point = 0;
  const auto bytes = utf8proc_iterate(
      bytes_of(text), static_cast<utf8proc_ssize_t>(std::min<std::size_t>(text.size(), 4)), &point);
  if (bytes <= 0) return {first, 0};
  return {static_cast<char32_t>(point), static_cast<std::size_t>(bytes)};
}

utf8proc_category_t category_of(char32_t point) noexcept {
  return utf8proc_category(static_cast<utf8proc_int32_t>(point));
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
  constexpr std::array kUnseen{UTF8PROC_CATEGORY_CC, UTF8PROC_CATEGORY_CF, UTF8PROC_CATEGORY_ZL,
                               UTF8PROC_CATEGORY_ZP};
  return std::find(kUnseen.begin(), kUnseen.end(), category_of(character.point)) == kUnseen.end();
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
  const bool is_known = character.bytes > 0 && category_of(character.point) != UTF8PROC_CATEGORY_CN;
  return is_known
             ? static_cast<std::size_t>(utf8proc_charwidth(static_cast<utf8proc_int32_t>(character.point)))
             : 1;
}

struct Free {
  void operator()(void* memory) const noexcept { std::free(memory); }
};

}  // namespace

void append_utf8(std::string& text, std::uint32_t point) {
  constexpr char kNotUtf8 = '\xFF';
  const auto code = static_cast<utf8proc_int32_t>(point);
  if (!utf8proc_codepoint_valid(code)) return void(text += kNotUtf8);
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto count = utf8proc_encode_char(code, bytes.data());
  text.append(bytes.begin(), bytes.begin() + count);
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
  constexpr auto kOptions = static_cast<utf8proc_option_t>(
      UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
  utf8proc_uint8_t* memory = nullptr;
  const auto bytes =
      utf8proc_map(bytes_of(text), static_cast<utf8proc_ssize_t>(text.size()), &memory, kOptions);
  const std::unique_ptr<utf8proc_uint8_t, Free> owner(memory);
  return bytes < 0 ? std::string(text) : std::string(memory, memory + bytes);
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
