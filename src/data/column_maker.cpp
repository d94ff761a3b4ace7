#include "data/column_maker.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

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

}  // namespace

ColumnMaker::ColumnMaker(const Dataset& dataset, std::string field, std::int64_t rows)
    : dataset_(dataset), name_(std::move(field)), rows_(static_cast<std::size_t>(rows)) {
  static_cast<void>(dataset.description().field(name_));
}

void ColumnMaker::read(std::int64_t i, std::int64_t row) {
  dataset_.read_field(row, name_, rows_[static_cast<std::size_t>(i)]);
}

Column ColumnMaker::column(bool pinned) const {
  const Field& field = dataset_.description().field(name_);
  std::vector<std::int64_t> offsets{0}, shape = field.shape;
  for (const auto& row : rows_) offsets.push_back(offsets.back() + std::ssize(row) / field.entry_bytes());
  if (field.differs())
    shape.front() = offsets.back();
  else
    shape.insert(shape.begin(), std::ssize(rows_));
  const auto options = at::TensorOptions(scalar_type_of(field.type)).pinned_memory(pinned);
  Column column{at::empty(shape, options), {}};
  auto* out = static_cast<std::byte*>(column.values.mutable_data_ptr());
  for (const auto& row : rows_) {
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

}  // namespace cohort::data
