#include "data_prep/field_cells.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"

#include "support/json.h"

namespace cohort::data_prep {
namespace {

[[noreturn]] void refuse_cell(std::string_view cell, const char* what, const std::string& where) {
  constexpr std::size_t kShown = 80;
  throw DataError({fmt::format("'{}' is not {}", printable(std::string(cell.substr(0, kShown))), what), where,
                   "correct it, or leave the image out"});
}

/// The whole of `text` as a number; nothing for anything else.
template <class Value>
std::optional<Value> whole_number(std::string_view text) {
  Value value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string_view> words_of(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  std::vector<std::string_view> words;
  for (std::size_t at = text.find_first_not_of(kBlanks); at != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(kBlanks, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(kBlanks, end);
  }
  return words;
}

float class_of_place(const Json& json, const std::vector<std::string>& classes, const std::string& where) {
  constexpr double kMost = 1 << 24;  // above it floats have gaps
  if (json.is_number_integer() && json.get<double>() >= -1 && json.get<double>() < kMost)
    return json.get<float>();
  if (!json.is_string()) refuse_cell(json.dump(), "a class: a name or a number from -1", where);
  const auto name = json.get<std::string>();
  const auto found = std::find(classes.begin(), classes.end(), name);
  if (found != classes.end()) return static_cast<float>(found - classes.begin());
  throw DataError({fmt::format("there is no class '{}'", printable(name)), where,
                   classes.empty() ? "name the classes in their order: --classes FIELD=a,b"
                                   : did_you_mean(name, classes)});
}

void add_place(const Json& place, std::size_t numbers, const std::vector<std::string>& classes,
               const std::string& where, std::vector<float>& values) {
  const char* what = numbers == 4 ? "a box: [x0, y0, x1, y1, class]" : "a point: [x, y, class]";
  const auto is_number = [](const Json& value) { return value.is_number(); };
  const bool fits =
      place.is_array() && (place.size() == numbers || place.size() == numbers + 1) &&
      std::all_of(place.begin(), place.begin() + static_cast<std::ptrdiff_t>(numbers), is_number);
  if (!fits) refuse_cell(place.dump(), what, where);
  const std::size_t first = values.size();
  for (std::size_t i = 0; i < numbers; ++i) values.push_back(static_cast<float>(place[i].get<double>()));
  const auto finite = [](float value) { return std::isfinite(value); };
  const bool ends =
      numbers == 2 || (values[first] <= values[first + 2] && values[first + 1] <= values[first + 3]);
  if (!ends || !std::all_of(values.begin() + static_cast<std::ptrdiff_t>(first), values.end(), finite))
    refuse_cell(place.dump(), what, where);
  values.push_back(place.size() > numbers ? class_of_place(place[numbers], classes, where) : -1.0F);
}

}  // namespace

std::vector<float> parse_places(std::string_view text, std::size_t numbers,
                                const std::vector<std::string>& classes, const std::string& where) {
  std::vector<float> values;
  if (words_of(text).empty()) return values;
  const Json json = is_nested_deeply(text) ? Json() : Json::parse(text, nullptr, false);
  if (!json.is_array()) refuse_cell(text, "a list in JSON", where);
  for (const Json& place : json) add_place(place, numbers, classes, where, values);
  return values;
}

std::vector<float> parse_numbers(std::span<const std::string> cells, const std::string& where) {
  std::vector<float> values;
  for (const std::string& cell : cells) {
    const std::vector<std::string_view> words = words_of(cell);
    const auto value = words.empty() ? std::optional(std::numeric_limits<float>::quiet_NaN())
                                     : whole_number<float>(words.front());
    if (words.size() > 1 || !value || std::isinf(*value)) refuse_cell(cell, "a number", where);
    values.push_back(*value);
  }
  return values;
}

std::vector<std::uint8_t> parse_flags(std::span<const std::string> cells, const std::string& where) {
  constexpr std::uint8_t kUnknown = 255;
  std::vector<std::uint8_t> values;
  for (const std::string& cell : cells) {
    const std::string small = in_small_letters(cell);
    const bool yes = small == "1" || small == "yes" || small == "true",
               no = small == "0" || small == "no" || small == "false";
    if (!yes && !no && !words_of(cell).empty())
      refuse_cell(cell, "a flag: 0, no, false, 1, yes, true", where);
    values.push_back(yes ? 1 : (no ? 0 : kUnknown));
  }
  return values;
}

std::vector<std::int32_t> parse_tokens(std::string_view cell, const std::string& where) {
  std::vector<std::int32_t> values;
  for (const std::string_view word : words_of(cell)) {
    const auto value = whole_number<std::int32_t>(word);
    if (!value || *value < 0) refuse_cell(word, "a token: an integer from 0", where);
    values.push_back(*value);
  }
  return values;
}

std::vector<float> parse_vector(std::string_view cell, const std::string& where) {
  std::vector<float> values;
  for (const std::string_view word : words_of(cell)) {
    const auto value = whole_number<float>(word);
    if (!value || !std::isfinite(*value)) refuse_cell(word, "a number", where);
    values.push_back(*value);
  }
  return values;
}

}  // namespace cohort::data_prep
