#include "html.h"

#include <array>
#include <charconv>
#include <unordered_map>

#include "unicode.h"

namespace cohort::text {
namespace {

struct Name {
  std::string value;
  bool without_semicolon = false;
};

constexpr std::string_view kTable =
#include "html_entities.inc"
    ;
constexpr std::size_t kLongestWithoutSemicolon = 6;

std::string characters_of(std::string_view points) {
  std::string result;
  for (const char* at = points.data(); at < points.data() + points.size(); ++at) {
    UChar32 character = 0;
    at = std::from_chars(at, points.data() + points.size(), character, 16).ptr;
    append(result, character);
  }
  return result;
}

std::unordered_map<std::string_view, Name> read_names() {
  std::unordered_map<std::string_view, Name> names;
  for (std::string_view rest = kTable; !rest.empty();) {
    const std::size_t end = rest.find(' '), equals = rest.find('=');
    const bool without_semicolon = rest[equals - 1] == '?';
    names[rest.substr(0, equals - (without_semicolon ? 1 : 0))] = {
        characters_of(rest.substr(equals + 1, end - equals - 1)), without_semicolon};
    rest.remove_prefix(end + 1);
  }
  return names;
}

const Name* find_name(std::string_view name) {
  static const auto names = read_names();
  const auto found = names.find(name);
  return found == names.end() ? nullptr : &found->second;
}

/// Numbers that stand for characters of Windows-1252 instead of control characters.
constexpr std::array<UChar32, 32> kWindows1252{0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021,
                                               0x2C6,  0x2030, 0x160,  0x2039, 0x152,  0x8D,   0x17D,  0x8F,
                                               0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                               0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178};

std::string character_of(std::uint32_t number) {
  std::string result;
  const auto character = static_cast<UChar32>(number);
  if (number >= 0x80 && number < 0xA0)
    append(result, kWindows1252.at(number - 0x80));
  else if (number == 0 || number > UCHAR_MAX_VALUE || U_IS_SURROGATE(number))
    append(result, kReplacement);
  else if (!U_IS_UNICODE_NONCHAR(character) &&
           (!u_isISOControl(character) || (number >= 9 && number <= 13 && number != 11)))
    append(result, character);
  return result;
}

/// A reference behind '&': what it stands for, and its bytes; 0: there is none.
struct Reference {
  std::string value;
  std::size_t bytes = 0;
};

std::size_t with_semicolon(std::string_view text, std::size_t bytes) {
  return bytes < text.size() && text[bytes] == ';' ? bytes + 1 : bytes;
}

Reference number_at(std::string_view text) {
  const bool is_hexadecimal = text.size() > 1 && (text[1] == 'x' || text[1] == 'X');
  const std::size_t first = is_hexadecimal ? 2 : 1;
  const std::size_t end = std::min(
      text.find_first_not_of(is_hexadecimal ? "0123456789abcdefABCDEF" : "0123456789", first), text.size());
  if (end <= first) return {};
  std::uint32_t number = 0;
  const auto error =
      std::from_chars(text.data() + first, text.data() + end, number, is_hexadecimal ? 16 : 10).ec;
  return {character_of(error == std::errc() ? number : ~0U), with_semicolon(text, end)};
}

Reference name_at(std::string_view text) {
  using namespace std::string_view_literals;
  const std::size_t end = std::min(text.find_first_of("\t\n\f <&#;"sv), text.size());
  const std::size_t bytes = with_semicolon(text, end);
  const Name* const whole = find_name(text.substr(0, end));
  if (whole != nullptr && (bytes > end || whole->without_semicolon)) return {whole->value, bytes};
  for (std::size_t length = std::min(end, kLongestWithoutSemicolon); length > 1; --length) {
    const Name* const name = find_name(text.substr(0, length));
    if (name != nullptr && name->without_semicolon) return {name->value, length};
  }
  return {};
}

}  // namespace

std::string unescaped(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t from = std::min(text.find('&'), text.size());
    result += text.substr(0, from);
    text.remove_prefix(from);
    if (text.empty()) break;
    const std::string_view behind = text.substr(1);
    const Reference reference = behind.starts_with('#') ? number_at(behind) : name_at(behind);
    result += reference.bytes == 0 ? "&" : reference.value;
    text.remove_prefix(1 + reference.bytes);
  }
  return result;
}

}  // namespace cohort::text
