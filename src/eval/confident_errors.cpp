#include "cohort/eval/confident_errors.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace cohort::eval {

void ConfidentErrors::keep_most() {
  std::sort(cases_.begin(), cases_.end(), [](const Case& a, const Case& b) {
    return a.log_probability != b.log_probability ? a.log_probability > b.log_probability : a.row < b.row;
  });
  if (std::ssize(cases_) > most_) cases_.resize(static_cast<std::size_t>(most_));
}

void ConfidentErrors::add(const at::Tensor& rows, const at::Tensor& logits,
                          std::span<const std::int64_t> labels) {
  const auto [best, answer] = logits.to(at::kCPU, at::kDouble).log_softmax(1).max(1);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto image = static_cast<std::int64_t>(i);
    if (labels[i] < 0 || answer.const_data_ptr<std::int64_t>()[image] == labels[i]) continue;
    cases_.push_back({best.const_data_ptr<double>()[image], rows.const_data_ptr<std::int64_t>()[image]});
  }
  keep_most();
}

std::vector<std::int64_t> ConfidentErrors::finish(comm::Communicator& ranks) {
  std::vector<double> sure;
  std::vector<std::int64_t> rows;
  for (const Case& found : cases_) {
    sure.push_back(found.log_probability);
    rows.push_back(found.row);
  }
  const at::Tensor all_sure = ranks.gather_rows(at::tensor(sure, at::kDouble)),
                   all_rows = ranks.gather_rows(at::tensor(rows, at::kLong));
  cases_.clear();
  for (std::int64_t i = 0; i < all_rows.numel(); ++i)
    cases_.push_back({all_sure.const_data_ptr<double>()[i], all_rows.const_data_ptr<std::int64_t>()[i]});
  keep_most();
  rows.clear();
  for (const Case& found : cases_) rows.push_back(found.row);
  return rows;
}

}  // namespace cohort::eval
