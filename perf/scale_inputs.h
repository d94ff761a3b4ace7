#pragma once
#include <cstdint>
#include <filesystem>

namespace cohort::perf {

inline constexpr std::int64_t kScaleContexts = 100;

/// Images of 8 x 8 gray pixels in 100 contexts and 2 classes, as `rows` lines of a table (columns id, path,
/// class, context, split) and a few files that they name. The first 512 are of the split val, the rest train.
/// Throws DataError.
void write_manifest(const std::filesystem::path& folder, std::int64_t rows);

/// The same as arrays of NumPy's: x, class, context. Throws DataError, and UsageError for more than 4 GiB.
void write_npz(const std::filesystem::path& file, std::int64_t rows);

/// A copy of a run's folder whose metrics have `lines` lines, made of those that are there. Throws DataError.
void lengthen_metrics(const std::filesystem::path& run, const std::filesystem::path& copy,
                      std::int64_t lines);

/// The configuration of a run of two steps on the dataset: as small a model as there is. Throws DataError.
void write_run_config(const std::filesystem::path& file, const std::filesystem::path& dataset,
                      const std::filesystem::path& run);

}  // namespace cohort::perf
