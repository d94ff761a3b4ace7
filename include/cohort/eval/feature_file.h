#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/data/column_reader.h"
#include "cohort/data/dataset.h"
#include "cohort/eval/predict.h"
#include "cohort/eval/table.h"

namespace cohort::eval {

/// What a feature file holds besides ids, labels and contexts of the images.
struct FeatureContents {
  std::int64_t width = 0;            ///< of features; 0: none are written
  std::int64_t patches = 0;          ///< tokens of an image; 0: none are written
  std::vector<std::string> keys;     ///< context keys of the model, in order
  std::vector<std::string> classes;  ///< of the columns of logits; empty: there are no logits
  std::map<std::string, std::vector<std::int64_t>>
      answers{};                 ///< of a method, by name: the shape of an image's
  TableAttributes attributes{};  ///< at the root
  std::int64_t passes = 0;       ///< count_passes()
  std::string identity;          ///< a text that differs where any value would
};

/// Writes HDF5 for other tools, by all ranks together, everything in dataset order: /features [N, D] f32,
/// /patch_tokens [N, P, D] f32 and /logits [N, classes] f32 if there are any, /id [N] text, /labels/<name>
/// [N] i32, /answers/<name> [N, …] f32, /context/<key> [N] i32, /context_tokens/<key> [N, D] f32,
/// /logit_classes [classes] text. Labels and contexts are numbers of /label_names/<name> and
/// /context_names/<key>, text, as in dataset.json. The bytes do not depend on the number of ranks, where
/// these have as many threads each.
///
/// It is written as FILE.partial, of its full size from the start, and renamed into place. Beside it
/// FILE.partial.passes says which passes are on the disk: those that were synced and read back. Whoever makes
/// the same file (FeatureContents::identity) goes on from there, on any number of ranks. A rank holds one
/// pass.
class FeatureWriter {
 public:
  /// Collective. Makes FILE.partial with the columns of `dataset`, which `columns` reads, or finds it. Throws
  /// UsageError when another process has it, or DataError, and leaves none that is not whole.
  FeatureWriter(const std::filesystem::path& file, const data::Dataset& dataset, data::ColumnReader& columns,
                const FeatureContents& contents, comm::Communicator& ranks);
  FeatureWriter(const FeatureWriter&) = delete;
  FeatureWriter& operator=(const FeatureWriter&) = delete;
  ~FeatureWriter();  ///< collective; what was not committed stays for the next start

  /// Whether a pass was there from the start.
  [[nodiscard]] bool has(std::int64_t pass) const noexcept;
  /// Whether features are among what is written.
  [[nodiscard]] bool has_features() const noexcept;
  /// Not collective. Throws DataError; also when the disk gives back other values than were written.
  void write(const PassAnswers& answers);
  /// Collective. All that was written is on the disk, for the next start to go on with.
  void pause();
  /// The same, and the file is closed. Precondition: every pass was written or there.
  void finish();
  /// FILE.partial, to be read behind finish().
  [[nodiscard]] const std::filesystem::path& partial() const noexcept;
  /// Collective, behind finish(). Renames the file into place.
  void commit();
  /// Collective. Removes what there is, in the place of commit().
  void discard();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads datasets of numbers of a feature file in blocks.
class FeatureReader {
 public:
  /// Throws DataError: no such file, or not one of features.
  explicit FeatureReader(std::filesystem::path file);
  FeatureReader(const FeatureReader&) = delete;
  FeatureReader& operator=(const FeatureReader&) = delete;
  ~FeatureReader();

  [[nodiscard]] std::int64_t rows() const noexcept;
  /// Rows `first` … `first` + `count` - 1 of `name` ("features"), [count, …] f32. Throws DataError.
  [[nodiscard]] at::Tensor read(const std::string& name, std::int64_t first, std::int64_t count) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort::eval
