#include "eval/extreme_rows.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

namespace cohort::eval {

void ExtremeRows::add(const Entry& entry) {
  entries_.push_back(entry);
  if (entries_.size() == 2 * most_) keep_most();
}

void ExtremeRows::keep_most() {
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return std::pair(-a.score, a.row) < std::pair(-b.score, b.row);
  });
  entries_.resize(std::min(entries_.size(), most_));
}

std::vector<ExtremeRows::Entry> ExtremeRows::finish(comm::Communicator& ranks) {
  keep_most();
  std::vector<double> values;
  std::vector<std::int64_t> numbers;
  for (const Entry& entry : entries_) {
    values.insert(values.end(), {entry.score, entry.truth, entry.said});
    numbers.insert(numbers.end(), {entry.row, entry.label, entry.answer});
  }
  const at::Tensor all_values = ranks.gather_rows(at::tensor(values, at::kDouble)),
                   all_numbers = ranks.gather_rows(at::tensor(numbers, at::kLong));
  const auto* value = all_values.const_data_ptr<double>();
  const auto* number = all_numbers.const_data_ptr<std::int64_t>();
  entries_.clear();
  for (std::int64_t i = 0; i < all_values.numel(); i += 3)
    entries_.push_back({value[i], number[i], number[i + 1], number[i + 2], value[i + 1], value[i + 2]});
  keep_most();
  return entries_;
}

}  // namespace cohort::eval
