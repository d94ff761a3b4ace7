#include "cohort/data/dataset.h"

#include <algorithm>
#include <map>
#include <optional>
#include <type_traits>

#include <torch/types.h>

#include "cohort/core/error.h"
#include "cohort/data/pixel_type.h"

#include "data/shard_cache.h"

namespace cohort::data {

struct Dataset::Impl {
  Description description;
  std::string split;
  std::unique_ptr<ShardCache> shards;
  std::vector<std::int64_t> first_row;  // of every shard, and the number of all rows behind them
  std::map<std::string, std::vector<std::int32_t>> contexts, labels;
  std::map<std::string, ContextRuns> runs;
  std::optional<std::vector<std::string>> ids;

  void read_row(std::int64_t row, std::span<std::byte> out) const;
};

void Dataset::Impl::read_row(std::int64_t row, std::span<std::byte> out) const {
  const auto shard = std::upper_bound(first_row.begin(), first_row.end(), row) - first_row.begin() - 1;
  const auto index = static_cast<std::size_t>(shard);
  shards->shard(index)->read(row - first_row[index], out);
}

namespace {

/// One column over all shards; `read` gives that of a shard.
template <class Read>
auto concatenate(ShardCache& shards, Read&& read) {
  std::invoke_result_t<Read, const ShardReader&> all;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    auto part = read(*shards.shard(i));
    all.insert(all.end(), std::make_move_iterator(part.begin()), std::make_move_iterator(part.end()));
  }
  return all;
}

}  // namespace

Dataset Dataset::open(const std::filesystem::path& folder, const std::string& split) {
  auto impl = std::make_unique<Impl>();
  impl->description = Description::read(folder);
  impl->split = split;
  impl->first_row.push_back(0);
  const std::vector<ShardEntry>& entries = impl->description.split(split).shards;
  impl->shards = std::make_unique<ShardCache>(folder, impl->description, entries);
  for (const ShardEntry& entry : entries) impl->first_row.push_back(impl->first_row.back() + entry.rows);
  return Dataset(std::move(impl));
}

Dataset::Dataset(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Dataset::Dataset(Dataset&&) noexcept = default;
Dataset& Dataset::operator=(Dataset&&) noexcept = default;
Dataset::~Dataset() = default;

const Description& Dataset::description() const noexcept {
  return impl_->description;
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
  static_cast<void>(impl_->description.context(key));  // unknown keys end here
  ContextRuns runs;
  for (std::size_t i = 0; i < impl_->shards->size(); ++i) runs.append(impl_->shards->shard(i)->contexts(key));
  return impl_->runs.emplace(key, std::move(runs)).first->second;
}

const std::vector<std::int32_t>& Dataset::contexts(const std::string& key) const {
  const auto found = impl_->contexts.find(key);
  if (found != impl_->contexts.end()) return found->second;
  static_cast<void>(impl_->description.context(key));  // unknown keys end here
  auto column = concatenate(*impl_->shards, [&](const ShardReader& shard) { return shard.contexts(key); });
  return impl_->contexts.emplace(key, std::move(column)).first->second;
}

const std::vector<std::int32_t>& Dataset::labels(const std::string& name) const {
  const auto found = impl_->labels.find(name);
  if (found != impl_->labels.end()) return found->second;
  static_cast<void>(impl_->description.label(name));
  auto column = concatenate(*impl_->shards, [&](const ShardReader& shard) { return shard.labels(name); });
  return impl_->labels.emplace(name, std::move(column)).first->second;
}

const std::vector<std::string>& Dataset::ids() const {
  std::optional<std::vector<std::string>>& ids = impl_->ids;
  if (!ids) ids = concatenate(*impl_->shards, [](const ShardReader& shard) { return shard.ids(); });
  return *ids;
}

void Dataset::read(std::int64_t row, std::span<std::byte> image) const {
  COHORT_CHECK(row >= 0 && row < rows(), "row {} of {} rows", row, rows());
  impl_->read_row(row, image);
}

at::Tensor Dataset::images(std::span<const std::int64_t> rows) const {
  const ImageLayout& layout = impl_->description.images;
  const auto count = static_cast<std::int64_t>(rows.size());
  at::Tensor images =
      at::empty({count, layout.channels, layout.height, layout.width}, at::kFloat);  // [B, C, H, W]
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
