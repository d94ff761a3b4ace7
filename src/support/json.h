#pragma once

// JSON for the .cpp files that write records. Header only; never included by a public header.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

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

/// A key that stands twice in one object, of which the library would take the last in silence; nothing also
/// for text that is no JSON.
inline std::optional<std::string> repeated_key(std::string_view text) {
  std::vector<std::set<std::string>> keys;
  std::optional<std::string> repeated;
  const auto note = [&](int /*depth*/, Json::parse_event_t event, const Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second &&
        !repeated)
      repeated = parsed.get<std::string>();
    return true;
  };
  const bool is_json = !Json::parse(text, note, false).is_discarded();
  return is_json ? repeated : std::nullopt;
}

/// An integer, of a file of others. Throws std::out_of_range for anything else: a fraction, a number that
/// does not fit, of which the library's own conversion leaves open what becomes of it, a text.
template <class AnyJson>
std::int64_t integer_of(const AnyJson& json) {
  const bool is_too_large =
      json.is_number_unsigned() && json.template get<std::uint64_t>() > std::uint64_t{INT64_MAX};
  if (!json.is_number_integer() || is_too_large) throw std::out_of_range("not an integer");
  return json.template get<std::int64_t>();
}

/// The same, not negative, and up to 2^64 - 1.
template <class AnyJson>
std::uint64_t unsigned_of(const AnyJson& json) {
  if (!json.is_number_unsigned()) throw std::out_of_range("not an integer, or negative");
  return json.template get<std::uint64_t>();
}

/// `value` rounded to 9 significant digits, enough to tell any two floats apart. Json prints the shortest
/// text that reads back to the same number: at most these 9 digits.
inline double nine_digits(double value) {
  return std::strtod(fmt::format("{:.9g}", value).c_str(), nullptr);
}

}  // namespace cohort
