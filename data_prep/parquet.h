#pragma once
#include <filesystem>

#include "data_prep/table.h"

namespace cohort::data_prep {

/// Whether a file is a Parquet table, by its first bytes.
bool is_parquet(const std::filesystem::path& file);

/// A Parquet table as texts: numbers as they are written, missing values and NaN empty, columns of lists and
/// of other nested types left out. Line i has number i + 1. Throws DataError; UsageError when this build was
/// made without Arrow.
Table read_parquet(const std::filesystem::path& file);

}  // namespace cohort::data_prep
