#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>

namespace cohort::report {

/// An image that an evaluation of a run names.
struct EvaluatedImage {
  std::filesystem::path run;  ///< its folder
  std::string split;
  std::int64_t row = 0;  ///< of the split
  std::string id;
};

/// A small JPEG of an image; empty where it is not at hand.
using PictureOf = std::function<std::string(const EvaluatedImage& image)>;

/// Reads config.yaml and metrics.jsonl of the run folders and writes one self-contained HTML page: what was
/// run, loss and learning-rate curves, scores per split, class and context with intervals, their curves,
/// throughput, and images to be looked at with pictures of `picture_of`. Several runs are compared side by
/// side. Throws DataError when a folder is no run or metrics.jsonl is damaged.
void write_html(std::span<const std::filesystem::path> runs, const std::filesystem::path& output,
                const PictureOf& picture_of = {});

/// The comparison as a table for the terminal: for every run, task and split the scores that its evaluation
/// has, the worst context, and images/s; of runs without scores loss, deviation and effective rank of
/// features instead. UTF-8, without colour. `columns`: of the terminal; columns of the table that find no
/// room are left out from the right, and named. Nothing: there is none.
std::string table(std::span<const std::filesystem::path> runs,
                  std::optional<std::size_t> columns = std::nullopt);

/// Runs whose configurations differ in `seed` and `run_dir` alone are one recipe: means with 95 % intervals
/// over its seeds, and differences of other recipes from the first one, by seed. Throws DataError as above,
/// and UsageError when two runs of a recipe have the same seed.
std::string seed_table(std::span<const std::filesystem::path> runs,
                       std::optional<std::size_t> columns = std::nullopt);

}  // namespace cohort::report
