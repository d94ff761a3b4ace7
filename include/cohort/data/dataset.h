#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/data/context_runs.h"
#include "cohort/data/description.h"

namespace cohort::data {

/// One split of a dataset, open for reading. Rows are numbered 0 … rows()-1 through its shards, in the order
/// of dataset.json ("dataset order"). Opened by one thread; the const functions are safe from any thread.
class Dataset {
 public:
  /// Throws DataError (missing, damaged or inconsistent files) or UsageError (no such split).
  static Dataset open(const std::filesystem::path& folder, const std::string& split);
  Dataset(Dataset&&) noexcept;
  Dataset& operator=(Dataset&&) noexcept;
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;
  ~Dataset();

  [[nodiscard]] const Description& description() const noexcept;
  [[nodiscard]] const std::string& split() const noexcept;
  [[nodiscard]] std::int64_t rows() const noexcept;
  /// A context column as runs of rows, read shard by shard at first use and kept: small, however many rows
  /// there are. UsageError for unknown keys. Call from one thread before sharing.
  [[nodiscard]] const ContextRuns& context_runs(const std::string& key) const;
  /// Columns [rows], read at first use and kept. UsageError for unknown names. Call from one thread before
  /// sharing.
  [[nodiscard]] const std::vector<std::int32_t>& contexts(const std::string& key) const;
  [[nodiscard]] const std::vector<std::int32_t>& labels(const std::string& name) const;
  [[nodiscard]] const std::vector<std::string>& ids() const;

  /// One image, [C, H, W] as stored, into `image` (description().images.bytes()). Throws DataError on a
  /// damaged row.
  void read(std::int64_t row, std::span<std::byte> image) const;
  /// Images of `rows`, [B, C, H, W] f32 in stored units (u8: 0 … 255). Throws DataError on a damaged row.
  [[nodiscard]] at::Tensor images(std::span<const std::int64_t> rows) const;

 private:
  struct Impl;
  explicit Dataset(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort::data
