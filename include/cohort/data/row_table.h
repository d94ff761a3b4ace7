#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cohort/data/dataset_writer.h"

namespace cohort::data {

/// Many short texts: each takes its own bytes and 4 more.
class PackedTexts {
 public:
  PackedTexts() = default;
  PackedTexts(const std::vector<std::string>& texts);  // NOLINT: the same, packed
  void add(std::string_view text);
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  /// Good as long as nothing is added.
  [[nodiscard]] std::string_view operator[](std::int64_t index) const;

 private:
  struct Block {
    std::string text;
    std::vector<std::uint32_t> ends;  // of its texts in `text`
  };
  std::vector<Block> blocks_;
  std::int64_t size_ = 0;
};

/// The least text that `texts` has more than once. Takes 8 bytes for each text while it looks.
std::optional<std::string> repeated_text(const PackedTexts& texts);

/// Many numbers from -1 on, mostly small ones: each takes 1, 2 or 4 bytes, as those around it need.
class PackedIndices {
 public:
  PackedIndices() = default;
  PackedIndices(std::int64_t count, std::int32_t value);  ///< of one value
  void add(std::int32_t value);
  void set(std::int64_t index, std::int32_t value);
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] std::int32_t operator[](std::int64_t index) const;

 private:
  struct Block {
    std::vector<std::uint8_t> bytes;
    std::size_t width = 1;  // of a value
  };
  static void widen(Block& block, std::size_t width);
  std::vector<Block> blocks_;
  std::int64_t size_ = 0;
};

/// Rows to be written, packed: about 10 bytes and those of its id for a row.
class RowTable {
 public:
  RowTable() = default;
  explicit RowTable(std::span<const Row> rows);
  /// Columns of one length; one of `labels` and `contexts` for each label and context column. Splits follow.
  RowTable(PackedTexts ids, std::vector<PackedIndices> labels, std::vector<PackedIndices> contexts);
  void add(const Row& row);
  void use_splits(PackedIndices splits) { splits_ = std::move(splits); }
  [[nodiscard]] std::int64_t size() const noexcept { return ids_.size(); }
  [[nodiscard]] Row operator[](std::int64_t row) const;

  [[nodiscard]] const PackedTexts& ids() const noexcept { return ids_; }
  [[nodiscard]] const PackedIndices& splits() const noexcept { return splits_; }
  [[nodiscard]] const std::vector<PackedIndices>& labels() const noexcept { return labels_; }
  [[nodiscard]] const std::vector<PackedIndices>& contexts() const noexcept { return contexts_; }

 private:
  PackedTexts ids_;
  PackedIndices splits_;
  std::vector<PackedIndices> labels_, contexts_;
};

/// As write_dataset() of a list, for any number of rows: those of rank 0, which hands to the others what they
/// write, shard by shard; nobody else needs to have any.
Description write_dataset(const std::filesystem::path& folder, Description description, const RowTable& rows,
                          const PixelSource& pixels, const WriterConfig& config, comm::Communicator& ranks,
                          const std::function<void(std::int64_t, std::int64_t)>& progress = {});

/// What write_dataset() checks before it reads an image: names that are UTF-8 and can name files, none of
/// them twice, ids that differ, a split for mean and deviation that has images (`statistics`, filled in if
/// empty). Throws DataError; UsageError for an unknown split.
void check_dataset(Description& description, const RowTable& rows, const PixelSource& pixels);

/// Rows of each split in the order of a dataset: by contexts, then by id. [splits][rows].
std::vector<std::vector<std::int64_t>> dataset_order(const RowTable& rows, std::size_t splits);

}  // namespace cohort::data
