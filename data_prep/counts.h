#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "cohort/data/row_table.h"

namespace cohort::data_prep {

/// A row as it is counted.
struct CountedRow {
  std::size_t split;
  std::span<const std::int32_t> labels, contexts;
};

/// Shows each row to `visit`, in any order. Called twice, so that nobody needs to hold them.
using RowsInTurn = std::function<void(const std::function<void(const CountedRow&)>& visit)>;

/// How many images every split has, as a table for the terminal: a line for each value of each context key, a
/// column for each class of each label. Of a key, or label, with many the smallest and largest values, or
/// largest classes, alone, unless `all` of them are wanted. `columns`: of
/// the terminal; classes that find no room are left out from the right. Nothing: there is none.
std::string count_table(const data::Description& description, const RowsInTurn& rows, bool all,
                        std::optional<std::size_t> columns = std::nullopt);
std::string count_table(const data::Description& description, const data::RowTable& rows, bool all,
                        std::optional<std::size_t> columns = std::nullopt);

}  // namespace cohort::data_prep
