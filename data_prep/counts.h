#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "cohort/data/dataset_writer.h"

namespace cohort::data_prep {

/// How many images every split has, as a table for the terminal: a line for each value of each context key, a
/// column for each class of each label. Of a key, or label, with many the smallest and largest values, or
/// largest classes, alone, unless `all` of them are wanted. `columns`: of
/// the terminal; classes that find no room are left out from the right. Nothing: there is none.
std::string count_table(const data::Description& description, std::span<const data::Row> rows, bool all,
                        std::optional<std::size_t> columns = std::nullopt);

}  // namespace cohort::data_prep
