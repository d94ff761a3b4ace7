#include "data_prep/texts.h"

#include "cohort/core/error.h"

namespace cohort::data_prep {

void Texts::push_back(std::string_view text) {
  COHORT_CHECK(!of_, "a function makes the {} texts", count_);
  held_.add(text);
}

data::PackedTexts Texts::packed() const {
  if (!of_) return held_;
  data::PackedTexts texts;
  for (std::int64_t i = 0; i < count_; ++i) texts.add(of_(i));
  return texts;
}

Categories::Categories(const std::vector<std::string>& texts) {
  for (const std::string& text : texts) push_back(text);
}

void Categories::push_back(std::string_view text) {
  COHORT_CHECK(!of_, "a function makes the {} texts", count_);
  const auto [code, is_new] =
      code_of_.try_emplace(std::string(text), static_cast<std::int32_t>(held_.names.size()));
  if (is_new) {
    held_.names.emplace_back(text);
    held_.first_of.push_back(held_.codes.size());
  }
  held_.codes.add(code->second);
}

std::string Categories::operator[](std::size_t index) const {
  const auto number = static_cast<std::int64_t>(index);
  return of_ ? of_(number) : held_.names[static_cast<std::size_t>(held_.codes[number])];
}

Categories::Coded Categories::coded() const {
  if (!of_) return held_;
  Categories all;
  for (std::int64_t i = 0; i < count_; ++i) all.push_back(of_(i));
  return std::move(all.held_);
}

}  // namespace cohort::data_prep
