#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/config/field.h"
#include "cohort/data/description.h"

namespace cohort::data {

/// One image to be written. Vocabulary indices refer to the Description given to write_dataset().
struct Row {
  std::string id;                      ///< unique within the dataset
  std::int32_t split = 0;              ///< index into Description::splits
  std::vector<std::int32_t> labels;    ///< one per label column; -1: none
  std::vector<std::int32_t> contexts;  ///< one per context column
};

/// Where the images come from.
class PixelSource {
 public:
  /// `pixels` writes row `index` of the list, [C, H, W] in the stored type, into `out` (layout.bytes()). It
  /// throws DataError.
  template <class Pixels>
  requires std::is_invocable_v<Pixels&, std::int64_t, std::span<std::byte>> PixelSource(Pixels pixels)
      : pixels_(std::move(pixels)) {}  // NOLINT: a function is a source
  void operator()(std::int64_t index, std::span<std::byte> out) const { pixels_(index, out); }

  /// Row `index` as it is encoded already, in the dataset's codec, or nothing. What can be decoded to an
  /// image of the layout is kept byte for byte; other rows are encoded from their pixels. May be empty.
  std::function<std::optional<std::vector<std::byte>>(std::int64_t index)> encoded;

  /// The values of row `index` in field number `field` of the description, [bytes]. Only for descriptions
  /// with fields. Throws DataError.
  std::function<std::vector<std::byte>(std::size_t field, std::int64_t index)> field;

  /// Whether the fields of a row are asked for right behind its pixels, rather than those of many rows first:
  /// for sources that read both from one place. Raw images then need their room on the disk twice.
  bool reads_by_row = false;

  /// Where row `index` comes from, "slides.csv:12", for messages. May be empty.
  std::function<std::string(std::int64_t index)> place;

 private:
  std::function<void(std::int64_t, std::span<std::byte>)> pixels_;
};

struct WriterConfig {
  config::Bytes shard_size{std::uint64_t{256} << 20};

  template <class Visit>
  void fields(Visit& visit) {
    visit("shard_size", shard_size, "largest size of one shard; with a codec about that",
          config::Range<std::uint64_t>{1 << 16, std::uint64_t{1} << 40});
  }
};

/// Collective. Writes shards and then dataset.json into `folder`. `description` has names, layout,
/// codec, vocabularies, fields and the names of the splits; shards, mean and deviation (of the split
/// `description.statistics`; empty: the first) are filled in. `rows` are those of rank 0 (row_table.h: of
/// large datasets). Within a split rows are sorted by (contexts, id), cut into shards, and every shard
/// is written by one rank: the files are byte-identical for any number of ranks. A shard is written beside,
/// read back against its checksums and renamed into place; dataset.json comes last. When `description.source`
/// is not 0, shards that an interrupted or failed call with the same source finished are kept and taken over.
/// Throws on every rank when one fails (DataError: unreadable source, disk full, folder already holds a
/// dataset). `progress` is called on every rank after each row that it wrote, with (rows done by the rank,
/// rows of the rank); may be empty.
Description write_dataset(const std::filesystem::path& folder, Description description,
                          std::span<const Row> rows, const PixelSource& pixels, const WriterConfig& config,
                          comm::Communicator& ranks,
                          const std::function<void(std::int64_t, std::int64_t)>& progress = {});

/// Removes what conversions that were killed left beside the shards of a dataset: receipts and files that
/// were being written. A receipt is what a conversion goes on from.
void remove_leftovers(const std::filesystem::path& folder, const Description& description);

/// Removes leftovers, dataset.json, then the shards that it lists; nothing else. Throws DataError when
/// `folder` holds no dataset.
void remove_dataset(const std::filesystem::path& folder);

}  // namespace cohort::data
