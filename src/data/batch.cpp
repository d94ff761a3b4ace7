#include "cohort/data/batch.h"

#include <torch/types.h>

#include "cohort/core/error.h"

namespace cohort::data {
namespace {

at::Tensor column_of(const std::vector<std::int32_t>& column, std::span<const std::int64_t> rows) {
  at::Tensor values = at::empty({static_cast<std::int64_t>(rows.size())}, at::kLong);  // [B]
  auto* out = values.data_ptr<std::int64_t>();
  for (const std::int64_t row : rows) *out++ = column[static_cast<std::size_t>(row)];
  return values;
}

at::Tensor context_columns(const Dataset& dataset, const std::vector<std::string>& keys,
                           std::span<const std::int64_t> rows) {
  if (keys.empty()) return at::empty({static_cast<std::int64_t>(rows.size()), 0}, at::kLong);
  std::vector<at::Tensor> columns;  // K × [B]
  for (const std::string& key : keys) columns.push_back(column_of(dataset.contexts(key), rows));
  return at::stack(columns, 1);
}

}  // namespace

Batch make_batch(const Dataset& dataset, std::span<const Group> groups, const BatchColumns& columns,
                 const ViewMaker& views) {
  std::vector<std::int64_t> rows, numbers;
  for (const Group& group : groups) {
    rows.insert(rows.end(), group.rows.begin(), group.rows.end());
    numbers.insert(numbers.end(), group.rows.size(), group.number);
  }
  COHORT_CHECK(!rows.empty(), "a batch without images");
  Batch batch;
  batch.views = views(dataset.images(rows), rows);
  batch.context = context_columns(dataset, columns.context_keys, rows);
  batch.group = at::tensor(numbers, at::kLong);
  if (!columns.label.empty()) batch.label = column_of(dataset.labels(columns.label), rows);
  batch.sample = at::tensor(rows, at::kLong);
  return batch;
}

Batch groups_of(const Batch& batch, std::int64_t groups, std::int64_t begin, std::int64_t end) {
  const std::int64_t images = batch.sample.size(0);
  COHORT_CHECK(groups > 0 && images % groups == 0 && 0 <= begin && begin < end && end <= groups,
               "groups {} to {} of {} with {} images", begin, end, groups, images);
  const std::int64_t first = images / groups * begin, count = images / groups * (end - begin);
  const auto part = [&](const at::Tensor& column) {
    return column.defined() ? column.narrow(0, first, count) : column;
  };
  Batch result;
  for (const at::Tensor& view : batch.views) result.views.push_back(part(view));
  result.context = part(batch.context);
  result.group = part(batch.group);
  result.label = part(batch.label);
  result.sample = part(batch.sample);
  return result;
}

}  // namespace cohort::data
