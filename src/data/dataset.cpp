#include "cohort/data/dataset.h"

#include <algorithm>
#include <map>
#include <optional>
#include <type_traits>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/types.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/data/pixel_type.h"
#include "cohort/data/row_table.h"
#include "cohort/data/signature.h"

#include "data/shard_cache.h"

namespace cohort::data {

struct Dataset::Impl {
  /// Throws UsageError: no such split.
  Impl(std::filesystem::path where, Description of_dataset, std::string name);

  std::filesystem::path folder;
  Description description;
  std::string split;
  std::unique_ptr<ShardCache> shards;
  std::function<void(std::int64_t row, std::span<std::byte> image)> pixels;  // in the place of shards
  std::vector<std::int64_t> first_row;  // of every shard, and the number of all rows behind them
  std::map<std::string, std::vector<std::int32_t>> contexts, labels;
  std::map<std::string, ContextRuns> runs;
  std::optional<std::vector<std::string>> ids;
  ImageLayout stored;                  // with all channels
  std::vector<std::int64_t> channels;  // places of those that were chosen; empty: all

  /// Columns of shards `first` … `last` - 1. Throw DataError (also: values outside of the vocabulary).
  [[nodiscard]] ContextRuns read_contexts(const std::string& key, std::size_t first, std::size_t last) const;
  [[nodiscard]] std::vector<std::int32_t> read_labels(const std::string& name, std::size_t first,
                                                      std::size_t last) const;
  /// One more row, of a dataset that has no shards.
  void add_columns(const Row& row);
  /// With all channels.
  void read_stored(std::int64_t row, std::span<std::byte> image) const;
  /// The shard of a row, and its number there.
  [[nodiscard]] std::pair<std::shared_ptr<const ShardReader>, std::int64_t> place(std::int64_t row) const;
};

std::pair<std::shared_ptr<const ShardReader>, std::int64_t> Dataset::Impl::place(std::int64_t row) const {
  COHORT_CHECK(row >= 0 && row < first_row.back(), "row {} of {}", row, first_row.back());
  const auto shard = std::upper_bound(first_row.begin(), first_row.end(), row) - first_row.begin() - 1;
  const auto index = static_cast<std::size_t>(shard);
  return {shards->shard(index), row - first_row[index]};
}

namespace {

/// One column over shards `first` … `last` - 1; `read` gives that of a shard.
template <class Read>
auto concatenate(ShardCache& shards, std::size_t first, std::size_t last, Read&& read) {
  std::invoke_result_t<Read, const ShardReader&> all;
  for (std::size_t i = first; i < last; ++i) {
    auto part = read(*shards.shard(i));
    all.insert(all.end(), std::make_move_iterator(part.begin()), std::make_move_iterator(part.end()));
  }
  return all;
}

/// A shard may say anything: what it says is an index into a vocabulary.
void check_index(std::int32_t value, std::int32_t lowest, std::size_t known,
                 const std::filesystem::path& folder, const std::string& column) {
  if (value >= lowest && value < static_cast<std::int64_t>(known)) return;
  throw DataError({fmt::format("column '{}' holds the value {}, dataset.json names {}", column, value, known),
                   folder.string(), "cohort-data verify lists all damage; convert the images again"});
}

}  // namespace

Dataset::Impl::Impl(std::filesystem::path where, Description of_dataset, std::string name)
    : folder(std::move(where)), description(std::move(of_dataset)), split(std::move(name)) {
  first_row.push_back(0);
  const std::vector<ShardEntry>& entries = description.split(split).shards;
  shards = std::make_unique<ShardCache>(folder, description, entries);
  stored = description.images;
  for (const ShardEntry& entry : entries) first_row.push_back(first_row.back() + entry.rows);
}

void Dataset::Impl::read_stored(std::int64_t row, std::span<std::byte> image) const {
  if (pixels) return pixels(row, image);
  const auto [shard, index] = place(row);
  shard->read(index, image);
}

void Dataset::Impl::add_columns(const Row& row) {
  ids->push_back(row.id);
  for (std::size_t i = 0; i < row.labels.size(); ++i)
    labels[description.labels[i].name].push_back(row.labels[i]);
  for (std::size_t i = 0; i < row.contexts.size(); ++i)
    runs[description.contexts[i].name].append(row.contexts[i], 1);
}

ContextRuns Dataset::Impl::read_contexts(const std::string& key, std::size_t first, std::size_t last) const {
  const std::size_t known = description.context(key).values.size();
  ContextRuns all;
  for (std::size_t i = first; i < last; ++i) all.append(shards->shard(i)->contexts(key));
  for (const ContextRun& run : all.runs()) check_index(run.context, 0, known, folder, key);
  return all;
}

std::vector<std::int32_t> Dataset::Impl::read_labels(const std::string& name, std::size_t first,
                                                     std::size_t last) const {
  const std::size_t known = description.label(name).classes.size();
  auto column =
      concatenate(*shards, first, last, [&](const ShardReader& shard) { return shard.labels(name); });
  for (const std::int32_t value : column) check_index(value, -1, known, folder, name);
  return column;
}

Dataset Dataset::open(const std::filesystem::path& folder, const std::string& split) {
  auto impl = std::make_unique<Impl>(folder, Description::read(folder), split);
  // Small datasets are checked as a whole.
  const std::size_t checked = std::min(ShardCache::kMostOpen, impl->shards->size());
  for (std::size_t i = 0; i < checked; ++i) static_cast<void>(impl->shards->shard(i));
  return Dataset(std::move(impl));
}

Dataset Dataset::open(const std::filesystem::path& folder, const std::string& split, const LabelsOf& labels,
                      comm::Communicator& ranks) {
  std::unique_ptr<Impl> impl;
  std::vector<std::string> needed;
  Description description = Description::read(folder, ranks);
  comm::together(ranks, [&] {
    impl = std::make_unique<Impl>(folder, std::move(description), split);
    needed = labels(impl->description);
  });
  const auto rank = static_cast<std::size_t>(ranks.rank()), size = static_cast<std::size_t>(ranks.size()),
             shards = impl->shards->size(), first = shards * rank / size, last = shards * (rank + 1) / size;
  Dataset dataset(std::move(impl));
  comm::together(ranks, [&] {
    for (std::size_t i = first; i < last; ++i) static_cast<void>(dataset.impl_->shards->shard(i));
  });
  dataset.share_contexts(first, last, ranks);
  for (const std::string& name : needed) dataset.share_labels(name, first, last, ranks);
  return dataset;
}

Dataset Dataset::of_source(Description description, const std::string& split, const std::vector<Row>& rows,
                           PixelSource pixels) {
  const auto number = &description.split(split) - description.splits.data();
  std::vector<std::int64_t> order =
      std::move(dataset_order(RowTable(rows), description.splits.size())[static_cast<std::size_t>(number)]);
  auto impl = std::make_unique<Impl>("", std::move(description), split);
  impl->first_row = {0, std::ssize(order)};
  impl->ids.emplace();
  for (const std::int64_t i : order) impl->add_columns(rows[static_cast<std::size_t>(i)]);
  impl->pixels = [order = std::move(order), pixels = std::move(pixels)](std::int64_t at, auto image) {
    pixels(order[static_cast<std::size_t>(at)], image);
  };
  return Dataset(std::move(impl));
}

/// Collective. Runs of every context key, of which this rank reads shards `first` … `last` - 1.
void Dataset::share_contexts(std::size_t first, std::size_t last, comm::Communicator& ranks) {
  for (const ContextColumn& column : impl_->description.contexts) {
    ContextRuns mine;
    comm::together(ranks, [&] { mine = impl_->read_contexts(column.name, first, last); });
    at::Tensor rows = at::empty({std::ssize(mine.runs()), 2}, at::kLong);  // context, number of rows
    auto* out = rows.data_ptr<std::int64_t>();
    for (const ContextRun& run : mine.runs()) *out++ = run.context, *out++ = run.rows;
    rows = ranks.gather_rows(rows);
    ContextRuns all;
    const auto* in = rows.const_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < rows.size(0); ++i)
      all.append(static_cast<std::int32_t>(in[2 * i]), in[2 * i + 1]);
    impl_->runs.emplace(column.name, std::move(all));
  }
}

void Dataset::share_labels(const std::string& name, std::size_t first, std::size_t last,
                           comm::Communicator& ranks) {
  std::vector<std::int32_t> mine;
  comm::together(ranks, [&] { mine = impl_->read_labels(name, first, last); });
  const at::Tensor rows = ranks.gather_rows(at::from_blob(mine.data(), {std::ssize(mine)}, at::kInt));
  const auto* values = rows.const_data_ptr<std::int32_t>();
  impl_->labels.emplace(name, std::vector<std::int32_t>(values, values + rows.numel()));
}

Dataset::Dataset(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Dataset::Dataset(Dataset&&) noexcept = default;
Dataset& Dataset::operator=(Dataset&&) noexcept = default;
Dataset::~Dataset() = default;

const Description& Dataset::description() const noexcept {
  return impl_->description;
}
void Dataset::use_statistics(std::vector<double> mean, std::vector<double> deviation) {
  const auto channels = static_cast<std::size_t>(impl_->description.images.channels);
  COHORT_CHECK(mean.size() == channels && deviation.size() == channels, "{} means for {} channels",
               mean.size(), channels);
  impl_->description.mean = std::move(mean);
  impl_->description.deviation = std::move(deviation);
}
void Dataset::choose_channels(const std::vector<std::string>& channels) {
  COHORT_CHECK(impl_->channels.empty(), "channels are chosen once");
  Description chosen = with_channels(impl_->description, channels);
  if (chosen.channels == impl_->description.channels) return;
  impl_->channels = places_of(chosen.channels, impl_->description.channels);
  impl_->description = std::move(chosen);
}

const std::string& Dataset::split() const noexcept {
  return impl_->split;
}
std::int64_t Dataset::rows() const noexcept {
  return impl_->first_row.back();
}

const ContextRuns& Dataset::context_runs(const std::string& key) const {
  const auto found = impl_->runs.find(key);
  if (found != impl_->runs.end()) return found->second;
  return impl_->runs.emplace(key, impl_->read_contexts(key, 0, impl_->shards->size())).first->second;
}

const std::vector<std::int32_t>& Dataset::contexts(const std::string& key) const {
  const auto found = impl_->contexts.find(key);
  if (found != impl_->contexts.end()) return found->second;
  std::vector<std::int32_t> column;
  for (const ContextRun& run : context_runs(key).runs())
    column.insert(column.end(), static_cast<std::size_t>(run.rows), run.context);
  return impl_->contexts.emplace(key, std::move(column)).first->second;
}

const std::vector<std::int32_t>& Dataset::labels(const std::string& name) const {
  const auto found = impl_->labels.find(name);
  if (found != impl_->labels.end()) return found->second;
  return impl_->labels.emplace(name, impl_->read_labels(name, 0, impl_->shards->size())).first->second;
}

const std::vector<std::int32_t>& Dataset::column(const std::string& name) const {
  return impl_->description.has_label(name) ? labels(name) : contexts(name);
}

const std::vector<std::string>& Dataset::ids() const {
  std::optional<std::vector<std::string>>& ids = impl_->ids;
  if (!ids) {
    ids = concatenate(*impl_->shards, 0, impl_->shards->size(),
                      [](const ShardReader& shard) { return shard.ids(); });
  }
  return *ids;
}

void Dataset::read(std::int64_t row, std::span<std::byte> image) const {
  if (impl_->channels.empty()) return impl_->read_stored(row, image);
  thread_local std::vector<std::byte> whole;
  whole.resize(static_cast<std::size_t>(impl_->stored.bytes()));
  impl_->read_stored(row, whole);
  const auto plane = static_cast<std::ptrdiff_t>(impl_->stored.bytes() / impl_->stored.channels);
  auto out = image.begin();
  for (const std::int64_t channel : impl_->channels)
    out = std::copy_n(whole.begin() + channel * plane, plane, out);
}

void Dataset::read_field(std::int64_t row, const std::string& field, std::vector<std::byte>& values) const {
  const auto number =
      static_cast<std::size_t>(&impl_->description.field(field) - impl_->description.fields.data());
  COHORT_CHECK(!impl_->pixels, "images of a source have no fields");
  const auto [shard, index] = impl_->place(row);
  shard->read_field(index, number, values);
}

std::string Dataset::id(std::int64_t row) const {
  if (impl_->pixels) return ids()[static_cast<std::size_t>(row)];
  const auto [shard, index] = impl_->place(row);
  return shard->id(index);
}

std::string Dataset::encoded(std::int64_t row) const {
  COHORT_CHECK(!impl_->pixels, "images of a source are not encoded");
  const auto [shard, index] = impl_->place(row);
  return shard->encoded(index);
}

at::Tensor Dataset::images(std::span<const std::int64_t> rows) const {
  const ImageLayout& layout = impl_->description.images;
  const auto count = static_cast<std::int64_t>(rows.size());
  std::vector<std::int64_t> shape = layout.sizes();
  shape.insert(shape.begin(), count);
  at::Tensor images = at::empty(shape, at::kFloat);
  std::vector<std::byte> stored(static_cast<std::size_t>(layout.bytes()));
  auto* out = images.data_ptr<float>();
  for (const std::int64_t row : rows) {
    read(row, stored);
    visit_pixels(layout.type, stored.data(),
                 [&](const auto* values) { std::copy_n(values, layout.values(), out); });
    out += layout.values();
  }
  return images;
}

}  // namespace cohort::data
