#pragma once
// What tokenizers ask of ICU, for texts in UTF-8.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <unicode/bytestream.h>
#include <unicode/stringpiece.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include "cohort/core/error.h"

namespace cohort::text {

inline constexpr UChar32 kReplacement = 0xFFFD;

/// The character at `at`, which moves behind it; U+FFFD for bytes that are none.
inline UChar32 next_character(std::string_view text, std::int32_t& at) noexcept {
  UChar32 character = 0;
  const auto size = static_cast<std::int32_t>(text.size());
  U8_NEXT_OR_FFFD(text.data(), at, size, character);
  return character;
}

inline std::int32_t size_of(std::string_view text) {
  COHORT_CHECK(text.size() < std::numeric_limits<std::int32_t>::max(), "a text of {} bytes", text.size());
  return static_cast<std::int32_t>(text.size());
}

inline icu::StringPiece piece_of(std::string_view text) {
  return {text.data(), size_of(text)};
}

inline void append(std::string& text, UChar32 character) {
  char bytes[U8_MAX_LENGTH];
  std::size_t count = 0;
  U8_APPEND_UNSAFE(bytes, count, character);
  text.append(bytes, count);
}

inline bool is_ascii(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) { return U8_IS_SINGLE(c); });
}

inline bool is_of(UChar32 character, std::uint32_t categories) noexcept {
  return (U_GET_GC_MASK(character) & categories) != 0;
}

inline void check(UErrorCode status) {
  COHORT_CHECK(U_SUCCESS(status), "ICU: {}", u_errorName(status));
}

}  // namespace cohort::text
