#include "metrics_line.h"

#include <limits>

#include <fmt/format.h>

namespace cohort::report {

using nlohmann::json;

double Line::number(const char* key) const {
  const json& value = at(key);
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!value.is_number()) throw damaged(fmt::format("'{}' is not a number", key));
  return value.get<double>();
}

std::int64_t Line::count(const char* key) const {
  const json& value = at(key);
  if (!value.is_number_integer()) throw damaged(fmt::format("'{}' is not an integer", key));
  return value.get<std::int64_t>();
}

std::string Line::text(const char* key) const {
  const json& value = at(key);
  if (!value.is_string()) throw damaged(fmt::format("'{}' is not text", key));
  return value.get<std::string>();
}

std::vector<Line> Line::list(const char* key) const {
  std::vector<Line> lines;
  const json& value = at(key);
  if (!value.is_array()) throw damaged(fmt::format("'{}' is not a list", key));
  for (const json& element : value) lines.emplace_back(element, place_);
  return lines;
}

std::vector<Line> Line::list_if_there(const char* key) const {
  return has(key) ? list(key) : std::vector<Line>{};
}

std::vector<std::string> Line::texts(const char* key) const {
  std::vector<std::string> texts;
  for (const Line& element : list(key)) {
    if (!element.values().is_string()) throw damaged(fmt::format("'{}' is not a list of texts", key));
    texts.push_back(element.values().get<std::string>());
  }
  return texts;
}

std::vector<double> Line::numbers(const char* key, std::size_t count) const {
  return Line(at(key), place_).elements(key, count);
}

std::vector<double> Line::elements(const char* name, std::size_t count) const {
  std::vector<double> numbers;
  if (values_.is_array()) {
    for (const json& element : values_) {
      if (element.is_number()) numbers.push_back(element.get<double>());
    }
  }
  if (numbers.size() != count || values_.size() != count)
    throw damaged(fmt::format("'{}' is not {} numbers", name, count));
  return numbers;
}

DataError Line::damaged(const std::string& reason) const {
  return DataError({"the metrics are damaged: " + reason, place_, "restore the file, or remove the line"});
}

const json& Line::at(const char* key) const {
  if (!values_.is_object() || !values_.contains(key)) throw damaged(fmt::format("'{}' is missing", key));
  return values_.at(key);
}

}  // namespace cohort::report
