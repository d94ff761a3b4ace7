#pragma once

// JSON for the .cpp files that write records. Header only; never included by a public header.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cohort {

using Json = nlohmann::ordered_json;

/// Whether brackets of the text are open more than `most` deep. To be asked of files of others before their
/// JSON is copied or dumped, which recurses.
inline bool is_nested_deeply(std::string_view text, int most = 64) {
  int depth = 0, deepest = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') {
      ++i;  // what follows is part of the text, a quote as well
      continue;
    }
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == '[' || c == '{') deepest = std::max(deepest, ++depth);
    if (c == ']' || c == '}') --depth;
  }
  return deepest > most;
}

/// `value` rounded to 9 significant digits, enough to tell any two floats apart. Json prints the shortest
/// text that reads back to the same number: at most these 9 digits.
inline double nine_digits(double value) {
  return std::strtod(fmt::format("{:.9g}", value).c_str(), nullptr);
}

}  // namespace cohort
