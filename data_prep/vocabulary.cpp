#include "data_prep/vocabulary.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort::data_prep {
namespace {

bool is_integer(const std::string& text) {
  const std::size_t digits = text.starts_with('-') ? 1 : 0;
  return text.size() > digits && text.size() < 18 &&
         text.find_first_not_of("0123456789", digits) == std::string::npos;
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
  }
  return names;
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

std::vector<std::int32_t> hold_out(const std::vector<std::int32_t>& context,
                                   const std::vector<std::string>& ids, const HoldOut& rule) {
  std::vector<std::size_t> order(ids.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return ids[a] < ids[b]; });
  const auto is_held_out = [](std::int64_t index, std::int64_t every) {
    return every > 0 && index % every == 0;
  };
  std::map<std::int32_t, std::int64_t> seen;
  std::vector<std::int32_t> split(ids.size());
  for (const std::size_t i : order) {
    if (is_held_out(context[i], rule.contexts)) {
      split[i] = 2;
    } else {
      split[i] = is_held_out(seen[context[i]]++, rule.images) ? 1 : 0;
    }
  }
  return split;
}

}  // namespace cohort::data_prep
