#include "table_file.h"

#ifdef COHORT_PARQUET
#include <algorithm>
#include <arrow/api.h>
#include <arrow/io/interfaces.h>
#include <arrow/util/compression.h>
#include <arrow/util/key_value_metadata.h>
#include <exception>
#include <memory>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

namespace cohort::jobs {
namespace {

using eval::Table;

/// What is written together, and readers take at a time.
constexpr std::int64_t kGroupRows = 65536, kGroupBytes = std::int64_t{32} << 20;

/// Where Arrow writes to. It knows errors as texts alone: ours is kept.
class Output : public arrow::io::OutputStream {
 public:
  explicit Output(const std::filesystem::path& file) : file_(file) {}

  using arrow::io::Writable::Write;
  arrow::Status Write(const void* data, std::int64_t bytes) override {
    try {
      file_.write({static_cast<const std::byte*>(data), static_cast<std::size_t>(bytes)});
      written_ += bytes;
      return arrow::Status::OK();
    } catch (const DataError& error) {
      error_ = std::current_exception();
      return arrow::Status::IOError(error.text().what);
    }
  }
  arrow::Status Close() override {
    closed_ = true;
    return arrow::Status::OK();
  }
  [[nodiscard]] arrow::Result<std::int64_t> Tell() const override { return written_; }
  [[nodiscard]] bool closed() const override { return closed_; }

  void commit() { file_.commit(); }
  /// Throws for a status of Arrow that is not good.
  void check(const arrow::Status& status, const std::filesystem::path& file) const {
    if (error_) std::rethrow_exception(error_);
    if (!status.ok())
      throw DataError({fmt::format("the Parquet table cannot be written: {}", status.ToString()),
                       file.string(), "write .csv or .h5 instead, and report it"});
  }

 private:
  AtomicFile file_;
  std::int64_t written_ = 0;
  bool closed_ = false;
  std::exception_ptr error_;
};

/// The schema and arrays of a column. A column of values that mean something each is a column for each.
void add_fields(const Table::Column& column, arrow::FieldVector& fields) {
  const auto* values = std::get_if<Table::Values>(&column.content);
  if (values != nullptr && !values->is_vector) {
    for (const std::string& name : values->names)
      fields.push_back(arrow::field(name, arrow::float32(), false));
  } else if (values != nullptr) {
    const auto width = static_cast<std::int32_t>(values->values.size(1));
    const auto element = arrow::field("element", arrow::float32(), false);
    fields.push_back(arrow::field(column.name, arrow::fixed_size_list(element, width), false));
  } else if (std::holds_alternative<Table::Counts>(column.content)) {
    fields.push_back(arrow::field(column.name, arrow::int64(), false));
  } else {
    fields.push_back(arrow::field(column.name, arrow::utf8()));
  }
}

std::shared_ptr<arrow::Schema> schema_of(const Table& table, const eval::TableAttributes& attributes) {
  arrow::FieldVector fields;
  for (const Table::Column& column : table.columns) add_fields(column, fields);
  auto metadata = std::make_shared<arrow::KeyValueMetadata>();
  for (const auto& [name, value] : attributes)
    std::visit([&, &name = name](const auto& plain) { metadata->Append(name, fmt::format("{}", plain)); },
               value);
  return arrow::schema(std::move(fields), std::move(metadata));
}

/// `count` values of type Value that others own.
template <class Value>
std::shared_ptr<arrow::Buffer> shown(const Value* start, std::int64_t count) {
  return arrow::Buffer::Wrap(start, static_cast<std::size_t>(count));
}

std::shared_ptr<arrow::Array> texts_of(const Table::Column& column, std::int64_t first, std::int64_t rows,
                                       arrow::Status& status) {
  arrow::StringBuilder builder;
  for (std::int64_t row = first; row < first + rows && status.ok(); ++row) {
    const std::string_view text = text_in(column, row);
    const bool is_none = text.empty() && std::holds_alternative<Table::Names>(column.content);
    status = is_none ? builder.AppendNull() : builder.Append(text);
  }
  std::shared_ptr<arrow::Array> array;
  if (status.ok()) status = builder.Finish(&array);
  return array;
}

std::shared_ptr<arrow::Array> vectors_of(const at::Tensor& values, std::int64_t first, std::int64_t rows) {
  const auto width = values.size(1);
  const auto elements = std::make_shared<arrow::FloatArray>(
      rows * width, shown(values.const_data_ptr<float>() + first * width, rows * width));
  const auto element = arrow::field("element", arrow::float32(), false);
  return std::make_shared<arrow::FixedSizeListArray>(
      arrow::fixed_size_list(element, static_cast<std::int32_t>(width)), rows, elements);
}

std::shared_ptr<arrow::Array> value_of(const at::Tensor& values, std::int64_t place, std::int64_t first,
                                       std::int64_t rows, arrow::Status& status) {
  arrow::FloatBuilder builder;
  const auto width = values.size(1);
  const float* const numbers = values.const_data_ptr<float>() + place;
  for (std::int64_t row = first; row < first + rows && status.ok(); ++row)
    status = builder.Append(numbers[row * width]);
  std::shared_ptr<arrow::Array> array;
  if (status.ok()) status = builder.Finish(&array);
  return array;
}

void add_arrays(const Table::Column& column, std::int64_t first, std::int64_t rows,
                arrow::ArrayVector& arrays, arrow::Status& status) {
  if (const auto* counts = std::get_if<Table::Counts>(&column.content)) {
    const auto* start = counts->values.const_data_ptr<std::int64_t>() + first;
    arrays.push_back(std::make_shared<arrow::Int64Array>(rows, shown(start, rows)));
    return;
  }
  const auto* values = std::get_if<Table::Values>(&column.content);
  if (values == nullptr) return arrays.push_back(texts_of(column, first, rows, status));
  if (values->is_vector) return arrays.push_back(vectors_of(values->values, first, rows));
  for (std::int64_t i = 0; i < values->values.size(1); ++i)
    arrays.push_back(value_of(values->values, i, first, rows, status));
}

arrow::Status write_rows(parquet::arrow::FileWriter& writer, const Table& table) {
  arrow::Status status;
  arrow::ArrayVector arrays;
  for (const Table::Column& column : table.columns) add_arrays(column, 0, table.rows, arrays, status);
  if (!status.ok()) return status;
  return writer.WriteTable(*arrow::Table::Make(writer.schema(), arrays, table.rows), kGroupRows);
}

/// Of a group, as its numbers have room.
std::int64_t rows_of_group(const Table& table) {
  std::int64_t bytes = 1;
  for (const Table::Column& column : table.columns)
    if (const auto* values = std::get_if<Table::Values>(&column.content))
      bytes += values->values.size(1) * static_cast<std::int64_t>(sizeof(float));
  return std::clamp(kGroupBytes / bytes, std::int64_t{1}, kGroupRows);
}

std::shared_ptr<parquet::WriterProperties> properties() {
  parquet::WriterProperties::Builder builder;
  if (arrow::util::Codec::IsAvailable(arrow::Compression::ZSTD))
    builder.compression(arrow::Compression::ZSTD);
  return builder.build();
}

}  // namespace

void write_parquet(const std::filesystem::path& file, const eval::TableAttributes& attributes,
                   std::span<const eval::TableBlocks> tables) {
  const auto output = std::make_shared<Output>(file);
  const auto keeps_types = parquet::ArrowWriterProperties::Builder().store_schema()->build();
  const Table first = tables.front().block(0, std::min<std::int64_t>(1, tables.front().rows));
  auto opened = parquet::arrow::FileWriter::Open(*schema_of(first, attributes), arrow::default_memory_pool(),
                                                 output, properties(), keeps_types);
  output->check(opened.status(), file);
  const std::unique_ptr<parquet::arrow::FileWriter> writer = std::move(opened).ValueUnsafe();
  for (const eval::TableBlocks& table : tables)
    eval::for_each_block(table, rows_of_group(first),
                         [&](const Table& rows) { output->check(write_rows(*writer, rows), file); });
  output->check(writer->Close(), file);
  output->commit();
}

}  // namespace cohort::jobs
#else
namespace cohort::jobs {

void write_parquet(const std::filesystem::path& file, const eval::TableAttributes&,
                   std::span<const eval::TableBlocks>) {
  static_cast<void>(table_format(file));
}

}  // namespace cohort::jobs
#endif
