#include "cohort/data/dataset_writer.h"

#include <algorithm>
#include <optional>

#include <torch/types.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/data/image_codec.h"
#include "cohort/data/row_table.h"

#include "data/field_codec.h"
#include "data/shard_format.h"
#include "data/shard_receipt.h"
#include "data/shard_writer.h"

namespace cohort::data {
namespace {

constexpr const char* kDescriptionFile = "dataset.json";

/// A shard to be written.
struct PlannedShard {
  std::string file;
  ShardPlace place;
};

void check_name(const std::string& name, const char* kind) {
  const bool fits = !name.empty() && name.find('/') == std::string::npos &&
                    name.find('\0') == std::string::npos && name.front() != '.';
  if (fits) return;
  throw DataError({fmt::format("'{}' cannot be the name of a {}", name, kind), "conversion options",
                   "choose a name that is not empty, has no '/' and does not begin with '.'"});
}

void check_names(const Description& description) {
  for (const Split& split : description.splits) check_name(split.name, "split");
  for (const LabelColumn& label : description.labels) check_name(label.name, "label");
  for (const ContextColumn& context : description.contexts) check_name(context.name, "context key");
  for (const Field& field : description.fields) check_name(field.name, "field");
  description.check_names();
}

/// Whether the columns of rows are those of the description, with indices that it has names for.
template <class Column>
bool in_vocabulary(const std::vector<PackedIndices>& indices, const std::vector<Column>& columns,
                   std::vector<std::string> Column::*names, std::int32_t lowest) {
  if (indices.size() != columns.size()) return false;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const auto known = static_cast<std::int32_t>((columns[i].*names).size());
    for (std::int64_t row = 0; row < indices[i].size(); ++row) {
      if (indices[i][row] < lowest || indices[i][row] >= known) return false;
    }
  }
  return true;
}

/// "a.csv:3 and a.csv:7".
std::string locations_of(std::string_view id, const PackedTexts& ids, const PixelSource& pixels) {
  if (!pixels.place) return "the images to be written";
  std::vector<std::string> places;
  for (std::int64_t i = 0; i < ids.size() && places.size() < 2; ++i) {
    if (ids[i] == id) places.push_back(pixels.place(i));
  }
  return join(places, " and ");
}

void check_ids(const PackedTexts& ids, const PixelSource& pixels) {
  for (std::int64_t i = 0; i < ids.size(); ++i) {
    if (is_utf8(ids[i])) continue;
    throw DataError(
        {fmt::format("the id of an image is not valid UTF-8: '{}'", printable(std::string(ids[i]))),
         pixels.place ? pixels.place(i) : "the images to be written",
         "rename it; iconv turns tables, and convmv names of files, into UTF-8"});
  }
  const std::optional<std::string> twice = repeated_text(ids);
  if (!twice) return;
  throw DataError({fmt::format("two images have the id '{}'", *twice), locations_of(*twice, ids, pixels),
                   "give every image an id of its own"});
}

void check_rows(const RowTable& rows, const Description& description) {
  if (rows.size() == 0) return;
  for (std::int64_t i = 0; i < rows.size(); ++i)
    COHORT_CHECK(rows.splits()[i] >= 0 && rows.splits()[i] < std::ssize(description.splits),
                 "split {} of row '{}'", rows.splits()[i], rows.ids()[i]);
  COHORT_CHECK(in_vocabulary(rows.labels(), description.labels, &LabelColumn::classes, -1), "labels of rows");
  COHORT_CHECK(in_vocabulary(rows.contexts(), description.contexts, &ContextColumn::values, 0),
               "contexts of rows");
}

bool has_rows(const RowTable& rows, std::int32_t split) {
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    if (rows.splits()[i] == split) return true;
  }
  return false;
}

/// The split that mean and deviation are to be of.
void choose_statistics(Description& description, const RowTable& rows) {
  if (description.statistics.empty()) description.statistics = description.splits.front().name;
  const auto split =
      static_cast<std::int32_t>(&description.split(description.statistics) - description.splits.data());
  if (has_rows(rows, split)) return;
  throw DataError({fmt::format("split '{}', whose mean and deviation normalise all images, has no images",
                               description.statistics),
                   "the images to be written", "name the split to train on with --statistics-split"});
}

/// Mean over some images, evenly spread. How much the rest takes shows only later.
std::uint64_t bytes_of_image(std::size_t rows, const Description& description, const PixelSource& pixels) {
  const ImageLayout& layout = description.images;
  if (description.codec == Codec::raw || rows == 0) return static_cast<std::uint64_t>(layout.bytes());
  const std::size_t samples = std::min<std::size_t>(rows, 64);
  std::vector<std::byte> image(static_cast<std::size_t>(layout.bytes()));
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    bytes += encoded_row(description, pixels, static_cast<std::int64_t>(i * rows / samples), image).size();
  }
  return bytes / samples + 1;
}

/// The same of all fields together.
std::uint64_t bytes_of_fields(const PackedTexts& ids, const Description& description,
                              const PixelSource& source) {
  std::uint64_t sum = 0;
  const auto rows = static_cast<std::size_t>(ids.size());
  for (std::size_t number = 0; number < description.fields.size() && rows > 0; ++number) {
    const Field& field = description.fields[number];
    const std::size_t samples = has_offsets(field) ? std::min<std::size_t>(rows, 64) : 0;
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < samples; ++i) {
      const auto row = static_cast<std::int64_t>(i * rows / samples);
      bytes += encoded_field(field, number, ids[row], source, row).size();
    }
    sum += samples == 0 ? static_cast<std::uint64_t>(field.entry_bytes()) : bytes / samples + 1;
  }
  return sum;
}

std::int64_t rows_per_shard(const PackedTexts& ids, const Description& description, std::uint64_t value_bytes,
                            std::uint64_t shard_size) {
  std::size_t longest_id = 1;
  for (std::int64_t i = 0; i < ids.size(); ++i) longest_id = std::max(longest_id, ids[i].size());
  const std::uint64_t structure = shard_format::structure_bytes(description);
  if (shard_size <= structure) return 1;
  const std::uint64_t count =
      (shard_size - structure) / shard_format::row_bytes(description, value_bytes, longest_id);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(count));
}

/// Shards of nearly equal size, so that ranks have equal work. `counts`: rows of each split.
std::vector<PlannedShard> cut(const std::vector<std::int64_t>& counts, const Description& description,
                              std::int64_t most_rows) {
  std::vector<PlannedShard> plan;
  for (std::size_t split = 0; split < counts.size(); ++split) {
    const std::int64_t rows = counts[split], shards = (rows + most_rows - 1) / most_rows;
    for (std::int64_t i = 0; i < shards; ++i) {
      const std::int64_t first = rows * i / shards, last = rows * (i + 1) / shards;
      plan.push_back(
          {fmt::format("{}-{:05}.h5", description.splits[split].name, i), {split, first, last - first}});
    }
  }
  return plan;
}

void remove_ending(std::string& name, std::string_view ending) {
  if (name.ends_with(ending)) name.erase(name.size() - ending.size());
}

/// The file for whose writing another is there: "train-00000.h5" of "train-00000.h5.done.13311.partial";
/// itself, if of none.
std::string written_file(std::string name) {
  if (name.ends_with(".partial")) {
    remove_ending(name, ".partial");
    const std::size_t end = name.find_last_not_of("0123456789");  // of the process that wrote it
    if (end != std::string::npos && end + 1 < name.size() && name[end] == '.') name.erase(end);
  }
  remove_ending(name, ".encoded");
  remove_ending(name, ".done");
  return name;
}

/// Whether a shard of `description` could have this name.
bool is_shard_name(const std::string& name, const Description& description) {
  return std::any_of(description.splits.begin(), description.splits.end(), [&](const Split& split) {
    const std::string start = split.name + "-";
    if (!name.starts_with(start) || !name.ends_with(".h5") || name.size() < start.size() + 8) return false;
    const std::string number = name.substr(start.size(), name.size() - start.size() - 3);
    return number.find_first_not_of("0123456789") == std::string::npos;
  });
}

/// Removes what another conversion, or an interrupted shard, left: only names that this one could give. What
/// this one finished earlier stays; returns the number of such shards.
std::int64_t remove_stale(const std::filesystem::path& folder, const Description& description) {
  std::vector<std::filesystem::path> stale;
  std::int64_t finished = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string(), shard = written_file(name);
    if (shard != kDescriptionFile && !is_shard_name(shard, description)) continue;
    const bool kept = !name.ends_with(".partial") && !name.ends_with(".encoded") &&
                      read_receipt(folder, shard, description.source);
    if (!kept) stale.push_back(entry.path());
    finished += kept && name == shard ? 1 : 0;
  }
  for (const auto& path : stale) std::filesystem::remove(path);
  return finished;
}

void prepare_folder(const std::filesystem::path& folder, const Description& description) {
  make_writable_folder(folder);
  if (std::filesystem::exists(folder / kDescriptionFile)) {
    throw DataError(
        {"the folder already holds a dataset", folder.string(), "choose another folder or remove it first"});
  }
  if (const std::int64_t finished = remove_stale(folder, description); finished > 0)
    log_info(fmt::format("{}: going on after {} finished shards", folder.string(), finished));
}

/// Everything known of the shards, summed over ranks: all but the writer of a shard have zeros, so that sums
/// are exact.
class Results {
 public:
  Results(std::size_t shards, std::int64_t channels)
      : entries_(at::zeros({static_cast<std::int64_t>(shards), 2}, at::kLong)),
        moments_(at::zeros({static_cast<std::int64_t>(shards), channels, 3}, at::kDouble)) {}

  void put(std::size_t index, const WrittenShard& shard) {
    auto* entry = entries_.data_ptr<std::int64_t>() + index * 2;
    entry[0] = static_cast<std::int64_t>(shard.entry.bytes);
    entry[1] = static_cast<std::int64_t>(shard.entry.checksum);
    auto* moments = moments_.data_ptr<double>() + index * shard.channels.size() * 3;
    for (const Moments& channel : shard.channels) {
      for (const double value : {channel.count, channel.mean, channel.squares}) *moments++ = value;
    }
  }

  void combine(comm::Communicator& ranks) {
    ranks.all_reduce(entries_).wait();
    ranks.all_reduce(moments_).wait();
  }

  [[nodiscard]] ShardEntry entry(std::size_t index, const PlannedShard& shard) const {
    const auto* entry = entries_.data_ptr<std::int64_t>() + index * 2;
    return {shard.file, shard.place.rows, static_cast<std::uint64_t>(entry[0]),
            static_cast<std::uint64_t>(entry[1])};
  }

  [[nodiscard]] Moments moments(std::size_t shard, std::size_t channel) const {
    const auto channels = static_cast<std::size_t>(moments_.size(1));
    const auto* values = moments_.data_ptr<double>() + (shard * channels + channel) * 3;
    return {values[0], values[1], values[2]};
  }

 private:
  at::Tensor entries_;  // [shards, 2] bytes and checksum
  at::Tensor moments_;  // [shards, channels, 3] count, mean, squares
};

void complete(Description& description, const std::vector<PlannedShard>& plan, const Results& results) {
  for (Split& split : description.splits) split.shards.clear();
  std::vector<Moments> channels(static_cast<std::size_t>(description.images.channels));
  for (std::size_t i = 0; i < plan.size(); ++i) {
    description.splits[plan[i].place.split].shards.push_back(results.entry(i, plan[i]));
    const bool counts = description.splits[plan[i].place.split].name == description.statistics;
    for (std::size_t c = 0; c < channels.size() && counts; ++c) channels[c].add(results.moments(i, c));
  }
  description.mean.clear();
  description.deviation.clear();
  for (const Moments& channel : channels) {
    description.mean.push_back(channel.mean);
    description.deviation.push_back(channel.deviation());
  }
}

/// What one rank does of the whole.
class Writing {
 public:
  Writing(const std::filesystem::path& folder, const Description& description, const PixelSource& pixels,
          const std::function<void(std::int64_t, std::int64_t)>& progress)
      : folder_(folder), description_(description), pixels_(pixels), progress_(progress) {}

  /// Collective. One shard a rank and round, so that an error ends all ranks after the shard at hand.
  void run(const std::vector<PlannedShard>& plan, RowDealer& rows, Results& results,
           comm::Communicator& ranks) {
    const auto first = static_cast<std::size_t>(ranks.rank()), step = static_cast<std::size_t>(ranks.size());
    for (std::size_t i = first; i < plan.size(); i += step) rows_here_ += plan[i].place.rows;
    for (std::size_t round = 0; round < plan.size(); round += step) {
      std::vector<ShardPlace> places;
      for (std::size_t i = round; i < std::min(plan.size(), round + step); ++i)
        places.push_back(plan[i].place);
      const ShardRows shard = rows.deal(places);
      comm::together(ranks, [&] {
        if (round + first < plan.size()) results.put(round + first, write(plan[round + first].file, shard));
      });
    }
  }

  /// After a failure: without dataset.json and a receipt the finished shards are of no use.
  void remove_useless() const noexcept {
    std::error_code ignored;
    for (const std::string& file : written_) {
      if (description_.source == 0) std::filesystem::remove(folder_ / file, ignored);
    }
  }

  /// Once dataset.json is there.
  void remove_receipts() const noexcept {
    std::error_code ignored;
    for (const std::string& file : written_) std::filesystem::remove(receipt_path(folder_, file), ignored);
  }

 private:
  WrittenShard write(const std::string& file, const ShardRows& rows) {
    written_.push_back(file);
    if (auto finished = finished_shard(folder_, file, description_.source)) {
      rows_done_ += finished->entry.rows;
      return *std::move(finished);
    }
    const auto row_done = [this] {
      ++rows_done_;
      if (progress_) progress_(rows_done_, rows_here_);
    };
    WrittenShard result = write_shard(folder_, file, description_, rows, pixels_, row_done);
    if (description_.source != 0) write_receipt(folder_, result, description_.source);
    return result;
  }

  const std::filesystem::path& folder_;
  const Description& description_;
  const PixelSource& pixels_;
  const std::function<void(std::int64_t, std::int64_t)>& progress_;
  std::int64_t rows_here_ = 0, rows_done_ = 0;
  std::vector<std::string> written_;
};

/// What rank 0 does before anything is written. Returns the most rows of a shard.
std::int64_t prepare(const std::filesystem::path& folder, Description& description, const RowTable& rows,
                     const PixelSource& pixels, std::uint64_t shard_size) {
  check_dataset(description, rows, pixels);
  check_codec(description.codec, description.images);
  COHORT_CHECK(static_cast<std::int64_t>(description.channels.size()) == description.images.channels,
               "{} channel names for {} channels", description.channels.size(), description.images.channels);
  for (const Field& field : description.fields)
    COHORT_CHECK(problem_of(field).empty(), "field '{}' {}", field.name, problem_of(field));
  COHORT_CHECK(description.fields.empty() || pixels.field, "nothing gives the values of fields");
  const std::uint64_t value_bytes =
      bytes_of_image(static_cast<std::size_t>(rows.size()), description, pixels) +
      bytes_of_fields(rows.ids(), description, pixels);
  prepare_folder(folder, description);
  return rows_per_shard(rows.ids(), description, value_bytes, shard_size);
}

}  // namespace

void check_dataset(Description& description, const RowTable& rows, const PixelSource& pixels) {
  check_names(description);
  check_rows(rows, description);
  check_ids(rows.ids(), pixels);
  choose_statistics(description, rows);
}

Description write_dataset(const std::filesystem::path& folder, Description description, const RowTable& rows,
                          const PixelSource& pixels, const WriterConfig& config, comm::Communicator& ranks,
                          const std::function<void(std::int64_t, std::int64_t)>& progress) {
  std::int64_t most_rows = 0;
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) most_rows = prepare(folder, description, rows, pixels, config.shard_size.count);
  });
  most_rows = ranks.max(most_rows);
  description.statistics = ranks.broadcast_text(description.statistics);
  RowDealer dealer(rows, description.splits.size(), ranks);
  const auto plan = cut(dealer.counts(), description, most_rows);
  Results results(plan.size(), description.images.channels);
  Writing writing(folder, description, pixels, progress);
  try {
    writing.run(plan, dealer, results, ranks);
    results.combine(ranks);
    complete(description, plan, results);
    comm::together(ranks, [&] {
      if (ranks.rank() != 0) return;
      sync_folder(folder);
      description.write(folder);
    });
  } catch (...) {
    writing.remove_useless();
    throw;
  }
  writing.remove_receipts();
  return description;
}

Description write_dataset(const std::filesystem::path& folder, Description description,
                          std::span<const Row> rows, const PixelSource& pixels, const WriterConfig& config,
                          comm::Communicator& ranks,
                          const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const RowTable packed(ranks.rank() == 0 ? rows : std::span<const Row>());
  return write_dataset(folder, std::move(description), packed, pixels, config, ranks, progress);
}

void remove_leftovers(const std::filesystem::path& folder, const Description& description) {
  std::vector<std::filesystem::path> leftovers;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string(), file = written_file(name);
    if (name != file && (file == kDescriptionFile || is_shard_name(file, description)))
      leftovers.push_back(entry.path());
  }
  for (const auto& path : leftovers) std::filesystem::remove(path);
}

void remove_dataset(const std::filesystem::path& folder) {
  const Description description = Description::read(folder);
  remove_leftovers(folder, description);
  std::filesystem::remove(folder / kDescriptionFile);
  for (const Split& split : description.splits) {
    for (const ShardEntry& shard : split.shards) std::filesystem::remove(folder / shard.file);
  }
}

}  // namespace cohort::data
