#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cohort::eval {

/// Rows with named columns, to be written for other programs (docs/formats/tables.md). Spans show what others
/// own, who have to outlive the table.
struct Table {
  /// The same text in every row.
  struct Same {
    std::string text;
  };
  /// A text a row.
  struct Texts {
    std::span<const std::string> values;
  };
  /// A name of a vocabulary a row.
  struct Names {
    at::Tensor index;  ///< [N] i32; -1: none
    std::span<const std::string> names;
  };
  struct Counts {
    at::Tensor values;  ///< [N] i64
  };
  struct Values {
    at::Tensor values;               ///< [N, D] f32
    std::vector<std::string> names;  ///< D: of each value, where it stands in a column of its own
    bool is_vector = false;          ///< means nothing but as a whole: features
  };
  struct Column {
    std::string name;
    std::variant<Same, Texts, Names, Counts, Values> content;
  };
  std::int64_t rows = 0;
  std::vector<Column> columns;
};

/// A table that is larger than memory: its rows are made block by block.
struct TableBlocks {
  std::int64_t rows = 0;
  /// Rows `first` … `first` + `count` - 1. What the table shows stays until the next call.
  std::function<Table(std::int64_t first, std::int64_t count)> block;
};

/// A whole table. It shows what `table` shows.
TableBlocks blocks_of(Table table);

/// Calls use(table) for blocks of at most `most` rows, in order.
void for_each_block(const TableBlocks& blocks, std::int64_t most,
                    const std::function<void(const Table& table)>& use);

/// Where a table comes from: names and what they say, in order.
using TableAttributes = std::vector<std::pair<std::string, std::variant<std::string, std::int64_t>>>;

/// What stands in a row of a column of texts (Same, Texts, Names); empty where there is no name.
std::string_view text_in(const Table::Column& column, std::int64_t row);

/// The tables, which have the same columns, below each other as HDF5: a dataset for each column, `attributes`
/// at the root. Every block is made twice. Written beside and renamed into place. One rank calls it. Throws
/// DataError.
void write_table_hdf5(const std::filesystem::path& file, const TableAttributes& attributes,
                      std::span<const TableBlocks> tables);

}  // namespace cohort::eval
