#include "cohort/data/batch.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <utility>

#include <torch/types.h>

#include "cohort/core/error.h"

#include "data/column_maker.h"

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

/// Rows of a batch, and what random numbers of each image are keyed by.
struct Rows {
  std::vector<std::int64_t> numbers, keys;

  void add(const Group& group, std::int64_t rows_of_dataset) {
    numbers.insert(numbers.end(), group.rows.begin(), group.rows.end());
    for (std::size_t i = 0; i < group.rows.size(); ++i) {
      const std::int64_t copy = group.copies.empty() ? 0 : group.copies[i];
      keys.push_back(group.rows[i] + copy * rows_of_dataset);
    }
  }
};

/// Reads the images `rows`, one at a time, and makes their views V × [B, C, h, w], or what a device makes
/// them from.
class ImageMaker {
 public:
  ImageMaker(const Dataset& dataset, const ViewMaker& views, const Rows& rows_and_keys,
             const BatchColumns& columns)
      : dataset_(dataset),
        views_(views),
        rows_(rows_and_keys.numbers),
        keys_(rows_and_keys.keys),
        image_bytes_(dataset.description().images.bytes()),
        pinned_(columns.pinned),
        guide_(views.guide()) {
    const auto& rows = rows_;
    for (const std::string& name : columns.fields) {
      const Field& field = dataset.description().field(name);
      if (moves_with_views(field)) {
        moved_.emplace_back(dataset, field, views.shapes(), std::ssize(rows), columns);
      } else {
        fields_.emplace_back(dataset, name, std::ssize(rows));
      }
    }
    for (std::size_t v = 0; columns.geometry && v < views.shapes().size(); ++v)
      geometry_.push_back(at::empty(geometry_sizes(std::ssize(rows)), at::kDouble));
    const auto options = at::TensorOptions(at::kFloat).pinned_memory(columns.pinned);
    if (columns.views_later) {
      COHORT_CHECK(views.recipe_bytes() > 0, "these views cannot be made later");
      stored_ = at::empty({std::ssize(rows), image_bytes_}, options.dtype(at::kByte));
      recipes_ = at::zeros({std::ssize(rows), views.recipe_bytes()}, options.dtype(at::kByte));
      return;
    }
    for (const ViewShape& view : views.shapes()) {
      sizes_.push_back(view.values());
      std::vector<std::int64_t> shape = view.sizes();
      shape.insert(shape.begin(), std::ssize(rows));
      tensors_.push_back(at::empty(shape, options));
    }
  }

  /// Image number `i` of the batch. From any thread.
  void make(std::int64_t i) {
    const auto begin = Clock::now();
    const std::int64_t row = rows_[static_cast<std::size_t>(i)];
    thread_local std::vector<std::byte> mask;
    mask.clear();
    if (!guide_.empty()) dataset_.read_field(row, guide_, mask);
    const ViewKey key(keys_[static_cast<std::size_t>(i)], mask);
    for (ColumnMaker& field : fields_) field.read(i, row);
    if (!moved_.empty() || !geometry_.empty()) place(i, row, key);
    if (stored_.defined()) {
      dataset_.read(row, row_of(stored_, i));
      read_time_ += std::chrono::nanoseconds(Clock::now() - begin).count();
      return views_.draw(key, row_of(recipes_, i));
    }
    thread_local std::vector<std::byte> stored;
    stored.resize(static_cast<std::size_t>(image_bytes_));
    dataset_.read(row, stored);
    const auto read = Clock::now();
    std::vector<std::span<float>> outputs;
    for (std::size_t v = 0; v < tensors_.size(); ++v)
      outputs.emplace_back(tensors_[v].mutable_data_ptr<float>() + i * sizes_[v],
                           static_cast<std::size_t>(sizes_[v]));
    views_.make(stored, key, outputs);
    read_time_ += std::chrono::nanoseconds(read - begin).count();
    view_time_ += std::chrono::nanoseconds(Clock::now() - read).count();
  }

  void finish(Batch& batch) {
    batch.views = std::move(tensors_);
    batch.stored = std::move(stored_);
    batch.recipes = std::move(recipes_);
    batch.geometry = std::move(geometry_);
    for (const MovedColumns& field : moved_) field.add_to(batch.columns);
    for (const ColumnMaker& field : fields_) batch.columns.emplace(field.field(), field.column(pinned_));
    batch.read_seconds = static_cast<double>(read_time_) * 1e-9;
    batch.view_seconds = static_cast<double>(view_time_) * 1e-9;
  }

 private:
  using Clock = std::chrono::steady_clock;

  /// Where the views of image number `i` are cut, and what of it moves with them.
  void place(std::int64_t i, std::int64_t row, const ViewKey& key) {
    std::vector<std::byte> recipe(static_cast<std::size_t>(views_.recipe_bytes()));
    views_.draw(key, recipe);
    std::vector<ViewGeometry> cut;
    for (std::size_t v = 0; v < views_.shapes().size(); ++v) cut.push_back(views_.geometry(recipe, v));
    for (MovedColumns& field : moved_) field.read(i, row, cut);
    for (std::size_t v = 0; v < geometry_.size(); ++v) {
      const Affine& at = cut[v].to_image;
      const DepthMap& z = cut[v].depth;
      const std::vector<double> rows = is_volume() ? std::vector{at.xx, at.xy, 0.0, at.x0, at.yx,   at.yy,
                                                                 0.0,   at.y0, 0.0, 0.0,   z.scale, z.offset}
                                                   : std::vector{at.xx, at.xy, at.x0, at.yx, at.yy, at.y0};
      std::copy(rows.begin(), rows.end(), geometry_[v].mutable_data_ptr<double>() + i * std::ssize(rows));
    }
  }

  [[nodiscard]] bool is_volume() const { return dataset_.description().images.is_volume(); }
  [[nodiscard]] std::vector<std::int64_t> geometry_sizes(std::int64_t images) const {
    if (is_volume()) return {images, 3, 4};
    return {images, 2, 3};
  }

  static std::span<std::byte> row_of(const at::Tensor& bytes, std::int64_t i) {
    const std::int64_t size = bytes.size(1);
    return {static_cast<std::byte*>(bytes.mutable_data_ptr()) + i * size, static_cast<std::size_t>(size)};
  }

  const Dataset& dataset_;
  const ViewMaker& views_;
  std::span<const std::int64_t> rows_, keys_;
  std::int64_t image_bytes_;
  bool pinned_;
  std::string guide_;
  std::vector<ColumnMaker> fields_;
  std::vector<MovedColumns> moved_;
  std::vector<at::Tensor> geometry_;
  std::vector<at::Tensor> tensors_;
  std::vector<std::int64_t> sizes_;
  at::Tensor stored_, recipes_;
  std::atomic<std::int64_t> read_time_{0}, view_time_{0};  // nanoseconds
};

}  // namespace

Batch make_batch(const Dataset& dataset, std::span<const Group> groups, const BatchColumns& columns,
                 const ViewMaker& views, Workers& workers) {
  Rows all;
  std::vector<std::int64_t> numbers;
  for (const Group& group : groups) {
    all.add(group, dataset.rows());
    numbers.insert(numbers.end(), group.rows.size(), group.number);
  }
  const std::vector<std::int64_t>& rows = all.numbers;
  COHORT_CHECK(!rows.empty(), "a batch without images");
  std::vector<std::int64_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return rows[static_cast<std::size_t>(a)] < rows[static_cast<std::size_t>(b)];
  });
  ImageMaker images(dataset, views, all, columns);
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
  batch.sample = at::tensor(all.keys, at::kLong);
  return batch;
}

namespace {

/// The rows `first` … `first` + `count` - 1 of a column.
Column rows_of(const Column& column, std::int64_t first, std::int64_t count) {
  if (!column.offsets.defined()) return {column.values.narrow(0, first, count), {}};
  const at::Tensor offsets = column.offsets.narrow(0, first, count + 1);
  const auto begin = offsets[0].item<std::int64_t>(), end = offsets[-1].item<std::int64_t>();
  return {column.values.narrow(0, begin, end - begin), offsets - begin};
}

}  // namespace

Batch groups_of(const Batch& batch, std::int64_t groups, std::int64_t begin, std::int64_t end) {
  const std::int64_t images = batch.sample.size(0);
  COHORT_CHECK(groups > 0 && images % groups == 0 && 0 <= begin && begin < end && end <= groups,
               "groups {} to {} of {} with {} images", begin, end, groups, images);
  const std::int64_t first = images / groups * begin, count = images / groups * (end - begin);
  Batch result = batch;
  result.read_seconds = result.view_seconds = 0.0;
  result.columns.clear();
  result.for_each_tensor([&](at::Tensor& rows, Batch::Use) { rows = rows.narrow(0, first, count); });
  for (const auto& [name, column] : batch.columns)
    result.columns.emplace(name, rows_of(column, first, count));
  return result;
}

}  // namespace cohort::data
