#include "eval/labelled.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/core/memory.h"

namespace cohort::eval {
namespace {

Labelled known_of(const at::Tensor& features, const std::vector<std::int32_t>& labels, std::int64_t first) {
  std::vector<std::int64_t> places, values;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0) continue;
    places.push_back(static_cast<std::int64_t>(i));
    values.push_back(labels[i]);
  }
  const at::Tensor chosen = at::tensor(places, at::kLong);
  const bool are_all = places.size() == labels.size();
  return {are_all ? features : features.index_select(0, chosen), at::tensor(values, at::kLong),
          chosen + first};
}

Labelled joined(const Labelled& a, const Labelled& b) {
  if (!a.rows.defined() || a.rows.numel() == 0) return b;
  return {at::cat({a.features, b.features}), at::cat({a.labels, b.labels}), at::cat({a.rows, b.rows})};
}

Labelled part(const Labelled& all, std::int64_t first, std::int64_t count) {
  return {all.features.narrow(0, first, count), all.labels.narrow(0, first, count),
          all.rows.narrow(0, first, count)};
}

}  // namespace

Labelled LabelledBlocks::next() {
  return_freed_memory();
  Labelled found = std::move(waiting_);
  if (!found.rows.defined()) found = known_of(at::empty({0, all_.features.width()}), {}, 0);
  while (found.rows.numel() < size_ && next_ < all_.features.rows()) {
    const std::int64_t count = std::min(size_, all_.features.rows() - next_);
    std::vector<std::int32_t> labels;
    comm::together(ranks_, [&] { labels = all_.labels(next_, count); });
    found = joined(found, known_of(all_.features.block(next_, count), labels, next_));
    next_ += count;
  }
  const std::int64_t count = std::min(size_, found.rows.numel());
  waiting_ = part(found, count, found.rows.numel() - count);
  return part(found, 0, count);
}

}  // namespace cohort::eval
