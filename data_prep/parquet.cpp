#include "data_prep/parquet.h"

#include <array>
#include <cmath>
#include <fstream>
#include <string_view>

#include "cohort/core/error.h"

#ifdef COHORT_PARQUET
#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>

#include <fmt/format.h>
#endif

namespace cohort::data_prep {

bool is_parquet(const std::filesystem::path& file) {
  std::array<char, 4> magic{};
  std::ifstream stream(file, std::ios::binary);
  stream.read(magic.data(), magic.size());
  return stream.good() && std::string_view(magic.data(), magic.size()) == "PAR1";
}

#ifdef COHORT_PARQUET
namespace {

[[noreturn]] void refuse(const std::string& reason, const std::filesystem::path& file) {
  throw DataError({fmt::format("the Parquet table cannot be read: {}", reason), file.string(),
                   "fetch or write the file again"});
}

template <class Value>
Value checked(arrow::Result<Value> result, const std::filesystem::path& file) {
  if (!result.ok()) refuse(result.status().ToString(), file);
  return std::move(result).ValueUnsafe();
}

std::shared_ptr<arrow::Table> read_columns_of(const std::filesystem::path& file) {
  auto input = checked(arrow::io::ReadableFile::Open(file.string()), file);
  const auto reader = checked(parquet::arrow::OpenFile(input, arrow::default_memory_pool()), file);
  std::shared_ptr<arrow::Table> table = checked(reader->ReadTable(), file);
  if (const arrow::Status status = table->ValidateFull(); !status.ok()) refuse(status.ToString(), file);
  return table;
}

/// What pandas writes for a missing number.
bool is_nan(const arrow::Array& values, std::int64_t row) {
  if (values.type_id() == arrow::Type::DOUBLE)
    return std::isnan(static_cast<const arrow::DoubleArray&>(values).Value(row));
  if (values.type_id() == arrow::Type::FLOAT)
    return std::isnan(static_cast<const arrow::FloatArray&>(values).Value(row));
  return false;
}

std::string cell(const arrow::Array& values, std::int64_t row, const std::filesystem::path& file) {
  if (values.IsNull(row) || is_nan(values, row)) return "";
  if (values.type_id() == arrow::Type::STRING)
    return static_cast<const arrow::StringArray&>(values).GetString(row);
  if (values.type_id() == arrow::Type::LARGE_STRING)
    return static_cast<const arrow::LargeStringArray&>(values).GetString(row);
  if (values.type_id() == arrow::Type::DICTIONARY) {
    const auto& encoded = static_cast<const arrow::DictionaryArray&>(values);
    return cell(*encoded.dictionary(), encoded.GetValueIndex(row), file);
  }
  return checked(values.GetScalar(row), file)->ToString();
}

}  // namespace

Table read_parquet(const std::filesystem::path& file) {
  try {
    const std::shared_ptr<arrow::Table> columns = read_columns_of(file);
    Table table{file.string(), {}, std::vector<Line>(static_cast<std::size_t>(columns->num_rows()))};
    for (int column = 0; column < columns->num_columns(); ++column) {
      const arrow::Field& field = *columns->schema()->field(column);
      if (arrow::is_nested(*field.type())) continue;
      table.columns.push_back(field.name());
      std::size_t line = 0;
      for (const auto& chunk : columns->column(column)->chunks()) {
        for (std::int64_t row = 0; row < chunk->length(); ++row)
          table.lines[line++].cells.push_back(cell(*chunk, row, file));
      }
    }
    for (std::size_t line = 0; line < table.lines.size(); ++line)
      table.lines[line].number = static_cast<std::int64_t>(line) + 1;
    return table;
  } catch (const parquet::ParquetException& error) {
    refuse(error.what(), file);
  }
}
#else
Table read_parquet(const std::filesystem::path& file) {
  throw UsageError({"this build reads no Parquet tables", file.string(),
                    "configure with -DCOHORT_PARQUET=ON, or write the table as CSV"});
}
#endif

}  // namespace cohort::data_prep
