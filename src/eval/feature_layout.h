#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "cohort/data/dataset.h"
#include "cohort/eval/feature_file.h"

#include "eval/column_file.h"

namespace cohort::eval {

/// Adds the datasets of a feature file whose values follow, and those of names.
void add_feature_layout(ColumnFile& file, const data::Dataset& dataset, const FeatureContents& contents,
                        std::size_t id_width);

/// Where a dataset's values begin in its file, and the bytes of a row.
struct Place {
  std::uint64_t offset = 0, row_bytes = 0;
};

/// Of `name` in `in`, which is open; `file`: as messages name it.
Place place_of(hid_t in, const std::filesystem::path& file, const std::string& name);

}  // namespace cohort::eval
