#include "data_prep/vocabulary.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <unordered_map>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"

namespace cohort::data_prep {
namespace {

bool is_integer(const std::string& text) {
  const std::size_t digits = text.starts_with('-') ? 1 : 0;
  return text.size() > digits && text.size() < 18 &&
         text.find_first_not_of("0123456789", digits) == std::string::npos;
}

/// Nothing for what is no number, or not a finite one.
std::optional<double> number_of(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool fits = error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
  return fits ? std::optional(value) : std::nullopt;
}

}  // namespace

std::vector<std::string> distinct(const std::vector<std::string>& column) {
  const std::set<std::string> values(column.begin(), column.end());
  std::vector<std::string> names;
  std::copy_if(values.begin(), values.end(), std::back_inserter(names),
               [](const auto& text) { return !text.empty(); });
  if (std::all_of(names.begin(), names.end(), is_integer)) {
    std::stable_sort(names.begin(), names.end(),
                     [](const auto& a, const auto& b) { return std::stoll(a) < std::stoll(b); });
  } else if (std::all_of(names.begin(), names.end(), number_of)) {
    std::stable_sort(names.begin(), names.end(),
                     [](const auto& a, const auto& b) { return *number_of(a) < *number_of(b); });
  }
  return names;
}

namespace {

/// Alike for names that a reader takes for one.
std::string look_of(const std::string& name) {
  const std::size_t first = name.find_first_not_of(" \t"), last = name.find_last_not_of(" \t");
  if (first == std::string::npos) return "";
  return folded(name.substr(first, last - first + 1));
}

bool means_missing(const std::string& name) {
  constexpr std::array kWords{"na", "n/a", "#n/a", "<na>", "nan", "none", "null", "nat"};
  return std::find(kWords.begin(), kWords.end(), look_of(name)) != kWords.end();
}

/// "'Cat' and 'cat', …": the first three pairs.
std::string twins_in(const std::vector<std::string>& vocabulary) {
  constexpr std::size_t kShown = 3;
  std::unordered_map<std::string, std::string> first_of;
  std::vector<std::string> pairs;
  for (const std::string& name : vocabulary) {
    const auto [first, is_new] = first_of.emplace(look_of(name), name);
    if (!is_new && pairs.size() <= kShown) pairs.push_back(fmt::format("'{}' and '{}'", first->second, name));
  }
  if (pairs.size() > kShown) pairs.back() = "…";
  return join(pairs, ", ");
}

}  // namespace

std::vector<std::string> doubts_about(const std::string& what, const std::vector<std::string>& vocabulary) {
  std::vector<std::string> doubts;
  const auto missing = std::find_if(vocabulary.begin(), vocabulary.end(), means_missing);
  if (missing != vocabulary.end())
    doubts.push_back(
        fmt::format("{} has the value '{}', a value like any other: an empty text says that there is none",
                    what, *missing));
  if (const std::string twins = twins_in(vocabulary); !twins.empty())
    doubts.push_back(fmt::format(
        "{} has names that differ in case, blanks or the way accents are written alone: {}", what, twins));
  return doubts;
}

std::vector<std::int32_t> indices(const std::vector<std::string>& column,
                                  const std::vector<std::string>& vocabulary, const std::string& what,
                                  const std::string& option) {
  std::map<std::string, std::int32_t> index{{"", -1}};
  for (const std::string& name : vocabulary) index.emplace(name, static_cast<std::int32_t>(index.size()) - 1);
  std::vector<std::int32_t> all;
  all.reserve(column.size());
  for (const std::string& value : column) {
    const auto found = index.find(value);
    if (found == index.end()) {
      throw DataError({fmt::format("{} has the value '{}', which is not listed", what, value), option,
                       did_you_mean(value, vocabulary)});
    }
    all.push_back(found->second);
  }
  return all;
}

data::PackedIndices hold_out(const data::PackedIndices& context, const data::PackedTexts& ids,
                             const HoldOut& rule) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(context.size()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return ids[a] < ids[b]; });
  const auto is_held_out = [](std::int64_t index, std::int64_t every) {
    return every > 0 && index % every == 0;
  };
  std::map<std::int32_t, std::int64_t> seen;
  data::PackedIndices split(context.size(), 0);
  for (const std::int64_t image : order) {
    if (is_held_out(context[image], rule.contexts)) {
      split.set(image, 2);
    } else if (is_held_out(seen[context[image]]++, rule.images)) {
      split.set(image, 1);
    }
  }
  return split;
}

}  // namespace cohort::data_prep
