#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/data/context_runs.h"
#include "cohort/data/dataset_writer.h"
#include "cohort/data/description.h"

namespace cohort::data {

/// One split of a dataset, open for reading. Rows are numbered 0 … rows()-1 through its shards, in the order
/// of dataset.json ("dataset order"). Opened by one thread; the const functions are safe from any thread.
class Dataset {
 public:
  /// Throws DataError (missing, damaged or inconsistent files) or UsageError (no such split).
  static Dataset open(const std::filesystem::path& folder, const std::string& split);
  /// Names of the label columns that will be needed. Throws UsageError.
  using LabelsOf = std::function<std::vector<std::string>(const Description& description)>;
  /// Collective. The same for many ranks and shards: rank 0 reads dataset.json, and each shard is opened and
  /// checked by one rank, which tells the others its context columns and the labels that they need. After
  /// that a rank opens a shard only when it reads an image of it. Throws on all ranks alike.
  static Dataset open(const std::filesystem::path& folder, const std::string& split, const LabelsOf& labels,
                      comm::Communicator& ranks);
  /// Not on a disk: images come from `pixels`, row by row, whenever they are read, from any thread. `rows` in
  /// any order; those of `split` become dataset order, as write_dataset() has it. For images that are seen
  /// once. Throws UsageError: no such split.
  static Dataset of_source(Description description, const std::string& split, const std::vector<Row>& rows,
                           PixelSource pixels);
  Dataset(Dataset&&) noexcept;
  Dataset& operator=(Dataset&&) noexcept;
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;
  ~Dataset();

  [[nodiscard]] const Description& description() const noexcept;
  /// From here on description() says these, per channel in stored units: those that a model was trained with.
  void use_statistics(std::vector<double> mean, std::vector<double> deviation);
  /// From here on images have these channels alone, in this order (with_channels()). Once. Throws UsageError.
  void choose_channels(const std::vector<std::string>& channels);
  [[nodiscard]] const std::string& split() const noexcept;
  [[nodiscard]] std::int64_t rows() const noexcept;
  /// A context column as runs of rows, read shard by shard at first use and kept: small, however many rows
  /// there are. UsageError for unknown keys. Call from one thread before sharing.
  [[nodiscard]] const ContextRuns& context_runs(const std::string& key) const;
  /// Columns [rows], read at first use and kept. UsageError for unknown names. Call from one thread before
  /// sharing.
  [[nodiscard]] const std::vector<std::int32_t>& contexts(const std::string& key) const;
  [[nodiscard]] const std::vector<std::int32_t>& labels(const std::string& name) const;
  /// That of Description::values(): a label, or a context.
  [[nodiscard]] const std::vector<std::int32_t>& column(const std::string& name) const;
  [[nodiscard]] const std::vector<std::string>& ids() const;

  /// One image, [C, H, W], or [C, D, H, W], as stored, its chosen channels, into `image`
  /// (description().images.bytes()). Throws DataError on a damaged row.
  void read(std::int64_t row, std::span<std::byte> image) const;
  /// A row of a field, decoded: `values` becomes [bytes] as Field says, as long as the row. From any thread.
  /// Throws DataError on a damaged row; UsageError: no such field.
  void read_field(std::int64_t row, const std::string& field, std::vector<std::byte>& values) const;
  /// The id of one row: reads that of this row alone. Throws DataError.
  [[nodiscard]] std::string id(std::int64_t row) const;
  /// One image as it is kept in the codec (raw: its pixels), with all channels. Throws DataError on a damaged
  /// row.
  [[nodiscard]] std::string encoded(std::int64_t row) const;
  /// Images of `rows`, [B, C, H, W], or [B, C, D, H, W], f32 in stored units (u8: 0 … 255). Throws DataError
  /// on a damaged row.
  [[nodiscard]] at::Tensor images(std::span<const std::int64_t> rows) const;

 private:
  struct Impl;
  explicit Dataset(std::unique_ptr<Impl> impl) noexcept;
  void share_contexts(std::size_t first, std::size_t last, comm::Communicator& ranks);
  void share_labels(const std::string& name, std::size_t first, std::size_t last, comm::Communicator& ranks);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort::data
