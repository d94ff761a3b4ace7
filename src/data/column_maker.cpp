#include "data/column_maker.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/data/targets.h"

namespace cohort::data {
namespace {

at::ScalarType scalar_type_of(ValueType type) {
  switch (type) {
    case ValueType::u8:
      return at::kByte;
    case ValueType::u16:
      return at::kShort;
    case ValueType::i32:
      return at::kInt;
    case ValueType::i64:
      return at::kLong;
    case ValueType::f32:
      break;
  }
  return at::kFloat;
}

/// Few operations take unsigned integers of 16 bits.
at::Tensor widened(const at::Tensor& values, ValueType type) {
  return type == ValueType::u16 ? values.to(at::kInt).bitwise_and_(0xFFFF) : values;
}

/// Rows of `field`, [bytes] each, one after the other.
Column joined(const std::vector<std::vector<std::byte>>& rows, const Field& field, bool pinned) {
  std::vector<std::int64_t> offsets{0}, shape = field.shape;
  for (const auto& row : rows) offsets.push_back(offsets.back() + std::ssize(row) / field.entry_bytes());
  if (field.differs())
    shape.front() = offsets.back();
  else
    shape.insert(shape.begin(), std::ssize(rows));
  const auto options = at::TensorOptions(scalar_type_of(field.type)).pinned_memory(pinned);
  Column column{at::empty(shape, options), {}};
  auto* out = static_cast<std::byte*>(column.values.mutable_data_ptr());
  for (const auto& row : rows) {
    std::copy(row.begin(), row.end(), out);
    out += row.size();
  }
  column.values = widened(column.values, field.type);
  if (field.differs()) {
    column.offsets = at::empty({std::ssize(offsets)}, at::TensorOptions(at::kLong).pinned_memory(pinned));
    std::copy(offsets.begin(), offsets.end(), column.offsets.mutable_data_ptr<std::int64_t>());
  }
  return column;
}

}  // namespace

ColumnMaker::ColumnMaker(const Dataset& dataset, std::string field, std::int64_t rows)
    : dataset_(dataset), name_(std::move(field)), rows_(static_cast<std::size_t>(rows)) {
  static_cast<void>(dataset.description().field(name_));
}

void ColumnMaker::read(std::int64_t i, std::int64_t row) {
  dataset_.read_field(row, name_, rows_[static_cast<std::size_t>(i)]);
}

Column ColumnMaker::column(bool pinned) const {
  return joined(rows_, dataset_.description().field(name_), pinned);
}

bool moves_with_views(const Field& field) noexcept {
  const bool is_place =
      field.kind == FieldKind::mask || field.kind == FieldKind::boxes || field.kind == FieldKind::points;
  return is_place && field.of.empty();
}

MovedColumns::MovedColumns(const Dataset& dataset, const Field& field, const std::vector<ViewShape>& views,
                           std::int64_t rows, const BatchColumns& columns)
    : dataset_(dataset), field_(field), least_part_(columns.least_part), pinned_(columns.pinned) {
  for (const ViewShape& view : views) {
    if (field.kind == FieldKind::mask) {
      std::vector<std::int64_t> shape = view.sizes();
      shape.front() = rows;
      masks_.push_back(
          at::empty(shape, at::TensorOptions(scalar_type_of(field.type)).pinned_memory(pinned_)));
    } else {
      rows_.emplace_back(static_cast<std::size_t>(rows));
    }
  }
}

void MovedColumns::read(std::int64_t i, std::int64_t row, std::span<const ViewGeometry> views) {
  std::vector<std::byte> stored;
  dataset_.read_field(row, field_.name, stored);
  if (field_.kind == FieldKind::mask) {
    if (field_.type == ValueType::u8) return move_mask_to<std::uint8_t>(i, stored, views, 255);
    return move_mask_to<std::int32_t>(i, stored, views, -1);
  }
  std::vector<float> values(stored.size() / sizeof(float));
  std::memcpy(values.data(), stored.data(), stored.size());
  for (std::size_t v = 0; v < views.size(); ++v) {
    const std::vector<float> moved = field_.kind == FieldKind::boxes
                                         ? move_boxes(values, views[v], least_part_)
                                         : move_points(values, views[v]);
    const std::span<const std::byte> bytes = std::as_bytes(std::span(moved));
    rows_[v][static_cast<std::size_t>(i)].assign(bytes.begin(), bytes.end());
  }
}

template <class Label>
void MovedColumns::move_mask_to(std::int64_t i, std::span<const std::byte> stored,
                                std::span<const ViewGeometry> views, Label outside) {
  std::vector<Label> labels(stored.size() / sizeof(Label));
  std::memcpy(labels.data(), stored.data(), stored.size());
  const ImageLayout& image = dataset_.description().images;
  const std::int64_t rows = field_.shape.end()[-2], columns = field_.shape.end()[-1],
                     slices = image.is_volume() ? field_.shape.front() : 1;
  const auto ratio = [](std::int64_t to, std::int64_t from) {
    return static_cast<double>(to) / static_cast<double>(from);
  };
  const Affine to_mask{.xx = ratio(columns, image.width), .yy = ratio(rows, image.height)};
  const double deeper = ratio(slices, image.depth);
  for (std::size_t v = 0; v < views.size(); ++v) {
    const at::Tensor& masks = masks_[v];
    const std::int64_t height = masks.size(-2), width = masks.size(-1), size = masks.numel() / masks.size(0);
    const std::span<Label> of_view(masks.mutable_data_ptr<Label>() + i * size,
                                   static_cast<std::size_t>(size));
    const DepthMap& depth = views[v].depth;
    const ViewGeometry to_place{
        to_mask * views[v].to_image, views[v].seen, {deeper * depth.scale, deeper * depth.offset}};
    if (image.is_volume())
      move_volume_mask<Label>({labels, slices, rows, columns}, to_place, outside,
                              {of_view, masks.size(1), height, width});
    else
      move_mask<Label>({labels, rows, columns}, to_place, outside, {of_view, height, width});
  }
}

void MovedColumns::add_to(std::map<std::string, Column>& columns) const {
  const std::size_t views = std::max(masks_.size(), rows_.size());
  for (std::size_t v = 0; v < views; ++v) {
    const Column column = masks_.empty() ? joined(rows_[v], field_, pinned_) : Column{masks_[v], {}};
    columns.emplace(field_.name + "/" + std::to_string(v), column);
  }
}

}  // namespace cohort::data
