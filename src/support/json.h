#pragma once

// JSON for the .cpp files that write records. Header only; never included by a public header.
#include <cstdlib>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cohort {

using Json = nlohmann::ordered_json;

/// `value` rounded to 9 significant digits, enough to tell any two floats apart. Json prints the shortest
/// text that reads back to the same number: at most these 9 digits.
inline double nine_digits(double value) {
  return std::strtod(fmt::format("{:.9g}", value).c_str(), nullptr);
}

}  // namespace cohort
