#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cohort {

// Names come from others: from tables, folders and archives. On a terminal they must neither steer it nor
// break a table or a message.

/// Appends a code point. What is none, or half of a surrogate pair, makes the text no UTF-8.
void append_utf8(std::string& text, std::uint32_t point);
bool is_utf8(std::string_view text) noexcept;

/// `text` as it may stand on a terminal, on one line: control characters, line breaks, marks that turn the
/// direction of writing, invisible ones, and bytes that are not UTF-8 become "\n", "\x1b", "\u202e", "\xff".
std::string printable(std::string_view text);

/// The same for text of several lines: line ends and tabs stay.
std::string printable_lines(std::string_view text);

/// What is alike for texts that a reader takes for one (NFKC_Casefold, Unicode Standard 3.13): that differ in
/// case, in how their characters are written (accents as marks of their own, µ as a sign or a Greek letter,
/// full width), or in what is not seen. Text that is not UTF-8 stays.
std::string folded(std::string_view text);

/// Columns that printable text takes on a terminal: East Asian characters take two, combining marks none.
std::size_t display_width(std::string_view text) noexcept;

constexpr std::size_t kNameColumns = 40;  ///< of a name in a table

/// printable(), cut to `columns` with "…" at its end.
std::string printable_name(std::string_view name, std::size_t columns = kNameColumns);

/// Printable text with blanks behind it, or before it, up to `columns`.
std::string left_aligned(std::string_view text, std::size_t columns);
std::string right_aligned(std::string_view text, std::size_t columns);

}  // namespace cohort
