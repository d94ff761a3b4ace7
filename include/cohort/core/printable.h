#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cohort {

// Names come from others: from tables, folders and archives. On a terminal they must neither steer it nor
// break a table or a message.

/// Appends a code point, which is not checked.
void append_utf8(std::string& text, std::uint32_t point);
bool is_utf8(std::string_view text) noexcept;

/// `text` as it may stand on a terminal, on one line: control characters, line breaks, marks that turn the
/// direction of writing, invisible ones, and bytes that are not UTF-8 become "\n", "\x1b", "\u202e", "\xff".
std::string printable(std::string_view text);

/// The same for text of several lines: line ends and tabs stay.
std::string printable_lines(std::string_view text);

/// Canonical decomposition (NFD) of UTF-8, without sorting marks that follow each other: "ü" becomes "u" and
/// its mark, as some file systems write names. The same text, written in two ways, becomes the same.
std::string decomposed(std::string_view text);

/// Columns that printable text takes on a terminal: East Asian characters take two, combining marks none.
std::size_t display_width(std::string_view text) noexcept;

constexpr std::size_t kNameColumns = 40;  ///< of a name in a table

/// printable(), cut to `columns` with "…" at its end.
std::string printable_name(std::string_view name, std::size_t columns = kNameColumns);

/// Printable text with blanks behind it, or before it, up to `columns`.
std::string left_aligned(std::string_view text, std::size_t columns);
std::string right_aligned(std::string_view text, std::size_t columns);

}  // namespace cohort
