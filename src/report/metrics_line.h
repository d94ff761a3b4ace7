#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "cohort/core/error.h"

namespace cohort::report {

/// One line of metrics.jsonl, or a part of one, with its place for messages. All throw DataError.
class Line {
 public:
  Line(const nlohmann::json& values, std::string place) : values_(values), place_(std::move(place)) {}

  [[nodiscard]] bool has(const char* key) const { return values_.contains(key); }
  /// NaN for null.
  [[nodiscard]] double number(const char* key) const;
  [[nodiscard]] std::int64_t count(const char* key) const;
  [[nodiscard]] std::string text(const char* key) const;
  /// Empty where there is none.
  [[nodiscard]] std::string text_if_there(const char* key) const { return has(key) ? text(key) : ""; }
  [[nodiscard]] std::vector<Line> list(const char* key) const;
  /// Empty where there is none.
  [[nodiscard]] std::vector<Line> list_if_there(const char* key) const;
  [[nodiscard]] std::vector<std::string> texts(const char* key) const;
  /// Exactly `count` of them.
  [[nodiscard]] std::vector<double> numbers(const char* key, std::size_t count) const;
  /// Of a line that is itself such a list.
  [[nodiscard]] std::vector<double> elements(const char* name, std::size_t count) const;
  [[nodiscard]] const nlohmann::json& values() const noexcept { return values_; }
  [[nodiscard]] DataError damaged(const std::string& reason) const;

 private:
  [[nodiscard]] const nlohmann::json& at(const char* key) const;

  const nlohmann::json& values_;
  std::string place_;
};

}  // namespace cohort::report
