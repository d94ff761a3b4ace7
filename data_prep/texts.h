#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cohort/data/row_table.h"

namespace cohort::data_prep {

/// Texts, one an image, mostly different: packed, or made by a function whenever one is asked for, which
/// takes no memory.
class Texts {
 public:
  Texts() = default;
  Texts(const std::vector<std::string>& texts) : held_(texts) {}  // NOLINT: the same, packed
  Texts(std::initializer_list<std::string> texts) : held_(std::vector(texts)) {}
  /// `of` is called with 0 … count-1, in any order, again and again.
  Texts(std::int64_t count, std::function<std::string(std::int64_t index)> of)
      : count_(count), of_(std::move(of)) {}

  void push_back(std::string_view text);  ///< not where a function makes them
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(of_ ? count_ : held_.size()); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] std::string operator[](std::size_t index) const {
    const auto number = static_cast<std::int64_t>(index);
    return of_ ? of_(number) : std::string(held_[number]);
  }
  [[nodiscard]] data::PackedTexts packed() const;

 private:
  data::PackedTexts held_;
  std::int64_t count_ = 0;
  std::function<std::string(std::int64_t)> of_;
};

/// Texts, one an image, of which many are alike (classes, contexts, splits): each different one is there once
/// and images have its number; or as above.
class Categories {
 public:
  /// The number of each text in `names`, which are in order of their first appearance.
  struct Coded {
    data::PackedIndices codes;
    std::vector<std::string> names;
    std::vector<std::int64_t> first_of;  ///< image that has the name first
  };

  Categories() = default;
  Categories(const std::vector<std::string>& texts);  // NOLINT: the same, packed
  Categories(std::initializer_list<std::string> texts) : Categories(std::vector(texts)) {}
  Categories(std::int64_t count, std::function<std::string(std::int64_t index)> of)
      : count_(count), of_(std::move(of)) {}

  void push_back(std::string_view text);  ///< not where a function makes them
  [[nodiscard]] std::size_t size() const {
    return static_cast<std::size_t>(of_ ? count_ : held_.codes.size());
  }
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] std::string operator[](std::size_t index) const;
  [[nodiscard]] Coded coded() const;

 private:
  Coded held_;
  std::unordered_map<std::string, std::int32_t> code_of_;
  std::int64_t count_ = 0;
  std::function<std::string(std::int64_t)> of_;
};

/// Those of some images: `kept`, their numbers before.
template <class AnyTexts>
AnyTexts kept_texts(AnyTexts before, std::shared_ptr<const std::vector<std::int64_t>> kept) {
  if (before.empty()) return before;
  const std::int64_t count = std::ssize(*kept);
  return {count, [before = std::move(before), kept = std::move(kept)](std::int64_t index) {
            return before[static_cast<std::size_t>((*kept)[static_cast<std::size_t>(index)])];
          }};
}

}  // namespace cohort::data_prep
