#include "sweep.h"

#include <set>
#include <string_view>

#include <fmt/format.h>

#include "cohort/core/error.h"

namespace cohort::jobs {
namespace {

struct Axis {
  std::string key;
  std::vector<std::string> values;
};

std::vector<std::string> split_values(std::string_view text) {
  std::vector<std::string> values(1);
  int depth = 0;
  for (const char letter : text) {
    if (letter == '[') ++depth;
    if (letter == ']') --depth;
    if (letter == ',' && depth == 0) {
      values.emplace_back();
    } else {
      values.back() += letter;
    }
  }
  return values;
}

Axis parse_axis(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw UsageError({fmt::format("'{}' does not name a key and its values", text), "--array",
                      "for example --array optimizer.lr=1e-3,3e-4"});
  }
  Axis axis{text.substr(0, equals), split_values(std::string_view(text).substr(equals + 1))};
  for (const std::string& value : axis.values) {
    if (!value.empty()) continue;
    throw UsageError({fmt::format("{} has an empty value", axis.key), "--array",
                      fmt::format("for example --array {}=A,B, without spaces", axis.key)});
  }
  if (axis.key == "run_dir") {
    throw UsageError({"run_dir cannot be the key of an array", "--array",
                      "every element has a folder of its own below run_dir already"});
  }
  return axis;
}

std::string folder_name(const std::vector<std::string>& overrides) {
  std::string name;
  for (const std::string& override_text : overrides) name += (name.empty() ? "" : ",") + override_text;
  for (char& letter : name) {
    if (letter == '/' || letter == '\\' || letter == ' ') letter = '_';
  }
  return name;
}

}  // namespace

std::vector<SweepElement> sweep(const std::vector<std::string>& axes) {
  std::vector<SweepElement> elements(1);
  std::set<std::string> keys, names;
  for (const std::string& text : axes) {
    const Axis axis = parse_axis(text);
    if (!keys.insert(axis.key).second)
      throw UsageError(
          {fmt::format("{} is given twice", axis.key), "--array", "put all its values behind one key"});
    std::vector<SweepElement> longer;
    for (const SweepElement& element : elements) {
      for (const std::string& value : axis.values) {
        longer.push_back(element);
        longer.back().overrides.push_back(axis.key + "=" + value);
      }
    }
    elements = std::move(longer);
  }
  for (SweepElement& element : elements) {
    element.name = folder_name(element.overrides);
    if (names.insert(element.name).second) continue;
    throw UsageError({fmt::format("two elements would share the folder '{}'", element.name), "--array",
                      "leave one of the values out"});
  }
  return elements;
}

}  // namespace cohort::jobs
