#include "cohort/data/batch.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <utility>

#include <torch/types.h>

#include "cohort/core/error.h"

namespace cohort::data {
namespace {

// [B]: `value(row)` of every row.
template <class Value>
at::Tensor column_of(std::span<const std::int64_t> rows, const Value& value) {
  at::Tensor values = at::empty({static_cast<std::int64_t>(rows.size())}, at::kLong);
  std::transform(rows.begin(), rows.end(), values.data_ptr<std::int64_t>(), value);
  return values;
}

at::Tensor context_columns(const Dataset& dataset, const std::vector<std::string>& keys,
                           std::span<const std::int64_t> rows) {
  if (keys.empty()) return at::empty({static_cast<std::int64_t>(rows.size()), 0}, at::kLong);
  std::vector<at::Tensor> columns;  // K × [B]
  for (const std::string& key : keys) {
    const ContextRuns& runs = dataset.context_runs(key);
    columns.push_back(column_of(rows, [&](std::int64_t row) { return runs.at(row); }));
  }
  return at::stack(columns, 1);
}

/// Makes the views of images `rows`, one at a time, into V × [B, C, h, w].
class ImageMaker {
 public:
  ImageMaker(const Dataset& dataset, const ViewMaker& views, std::span<const std::int64_t> rows, bool pinned)
      : dataset_(dataset), views_(views), rows_(rows) {
    const auto options = at::TensorOptions(at::kFloat).pinned_memory(pinned);
    for (const ViewShape& shape : views.shapes()) {
      sizes_.push_back(shape.values());
      tensors_.push_back(at::empty({std::ssize(rows), shape.channels, shape.height, shape.width}, options));
    }
  }

  /// Image number `i` of the batch. From any thread.
  void make(std::int64_t i) {
    const auto begin = Clock::now();
    const std::int64_t row = rows_[static_cast<std::size_t>(i)];
    thread_local std::vector<std::byte> stored;
    stored.resize(static_cast<std::size_t>(dataset_.description().images.bytes()));
    dataset_.read(row, stored);
    const auto read = Clock::now();
    std::vector<std::span<float>> outputs;
    for (std::size_t v = 0; v < tensors_.size(); ++v)
      outputs.emplace_back(tensors_[v].mutable_data_ptr<float>() + i * sizes_[v],
                           static_cast<std::size_t>(sizes_[v]));
    views_.make(stored, row, outputs);
    read_time_ += std::chrono::nanoseconds(read - begin).count();
    view_time_ += std::chrono::nanoseconds(Clock::now() - read).count();
  }

  void finish(Batch& batch) {
    batch.views = std::move(tensors_);
    batch.read_seconds = static_cast<double>(read_time_) * 1e-9;
    batch.view_seconds = static_cast<double>(view_time_) * 1e-9;
  }

 private:
  using Clock = std::chrono::steady_clock;

  const Dataset& dataset_;
  const ViewMaker& views_;
  std::span<const std::int64_t> rows_;
  std::vector<at::Tensor> tensors_;
  std::vector<std::int64_t> sizes_;
  std::atomic<std::int64_t> read_time_{0}, view_time_{0};  // nanoseconds
};

}  // namespace

Batch make_batch(const Dataset& dataset, std::span<const Group> groups, const BatchColumns& columns,
                 const ViewMaker& views, Workers& workers) {
  std::vector<std::int64_t> rows, numbers;
  for (const Group& group : groups) {
    rows.insert(rows.end(), group.rows.begin(), group.rows.end());
    numbers.insert(numbers.end(), group.rows.size(), group.number);
  }
  COHORT_CHECK(!rows.empty(), "a batch without images");
  std::vector<std::int64_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return rows[static_cast<std::size_t>(a)] < rows[static_cast<std::size_t>(b)];
  });
  ImageMaker images(dataset, views, rows, columns.pinned);
  workers.for_each(std::ssize(rows),
                   [&](std::int64_t i) { images.make(order[static_cast<std::size_t>(i)]); });
  Batch batch;
  images.finish(batch);
  batch.context = context_columns(dataset, columns.context_keys, rows);
  batch.group = at::tensor(numbers, at::kLong);
  if (!columns.label.empty()) {
    const auto& labels = dataset.labels(columns.label);
    batch.label = column_of(rows, [&](std::int64_t row) { return labels[static_cast<std::size_t>(row)]; });
  }
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
