#pragma once
#include <string>
#include <string_view>

namespace cohort::text {

/// HTML's character references as the characters that they stand for (HTML standard, 13.5 and 13.2.5.80),
/// "&amp;", "&#233;",
/// "&#xe9;", as Python's html.unescape() reads them: without a semicolon too where the standard has such a
/// name.
std::string unescaped(std::string_view text);

}  // namespace cohort::text
