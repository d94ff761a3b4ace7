#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cohort/eval/table.h"

namespace cohort::jobs {

enum class TableFormat { csv, tsv, parquet, hdf5 };

/// Told by the ending: .csv, .tsv, .parquet, .h5 or .hdf5. Throws UsageError: another one ("did you mean"),
/// or Parquet in a build without it.
TableFormat table_format(const std::filesystem::path& file);

/// What write_table() writes: the file, and of formats that cannot hold attributes (CSV and TSV) FILE.json
/// with them.
std::vector<std::filesystem::path> files_of_table(const std::filesystem::path& file);

/// Writes the tables, which have the same columns, below each other in the format of the file's ending
/// (docs/formats/tables.md), block by block, so that nothing of their size is held. `quotes_formulas`: of CSV
/// and TSV, ' before texts that a spreadsheet would compute. Each file is written beside and renamed into
/// place. One rank calls it. Throws as table_format(), or DataError.
void write_table(const std::filesystem::path& file, const eval::TableAttributes& attributes,
                 std::span<const eval::TableBlocks> tables, bool quotes_formulas);

/// One of its formats.
void write_parquet(const std::filesystem::path& file, const eval::TableAttributes& attributes,
                   std::span<const eval::TableBlocks> tables);

/// A row for each value of the column of names `key` that rows have, in the order of its vocabulary: the key,
/// `images` (how many rows), the other columns of names where all these rows have the same (else none), and
/// the means of values, added up in fp64. Columns that differ from row to row (ids) are left out. Throws
/// UsageError: no such column.
eval::Table mean_by(const eval::TableBlocks& table, const std::string& key);

/// Throws UsageError: `key` is none of the columns of names `known`.
[[noreturn]] void refuse_key(const std::string& key, const std::vector<std::string>& known);

}  // namespace cohort::jobs
