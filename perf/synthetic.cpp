#include "synthetic.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/data/dataset_writer.h"

namespace cohort::perf {
namespace {

constexpr std::int64_t kContexts = 8, kClasses = 2;

data::ImageLayout layout_of(const std::string& size) {
  data::ImageLayout layout;
  char first = 0, second = 0;
  std::istringstream text(size);
  text >> layout.height >> first >> layout.width >> second >> layout.channels;
  const bool sensible = std::min({layout.height, layout.width, layout.channels}) > 0 &&
                        std::max({layout.height, layout.width, layout.channels}) <= 1 << 14;
  if (text.fail() || !text.eof() || first != 'x' || second != 'x' || !sensible)
    throw UsageError({fmt::format("'{}' is no size of images", size), "--synthetic",
                      "give height, width and channels: 96x96x3"});
  return layout;
}

std::vector<std::string> context_keys(const train::RunConfig& config) {
  std::vector<std::string> keys = config.context.keys;
  const std::string group = train::training_group_key(config);
  if (!group.empty() && std::find(keys.begin(), keys.end(), group) == keys.end()) keys.push_back(group);
  return keys;
}

data::Description description_of(const train::RunConfig& config, const data::ImageLayout& layout) {
  data::Description description;
  description.name = "synthetic";
  description.images = layout;
  for (std::int64_t i = 0; i < layout.channels; ++i) description.channels.push_back(fmt::format("{}", i));
  description.labels = {{config.data.label.empty() ? "class" : config.data.label, {"0", "1"}}};
  std::vector<std::string> values;
  for (std::int64_t i = 0; i < kContexts; ++i) values.push_back(fmt::format("{}", i));
  for (const std::string& key : context_keys(config)) description.contexts.push_back({key, values});
  description.splits = {{config.data.train_split, {}}};
  return description;
}

/// Whole groups in each context, and two steps or more an epoch.
std::vector<data::Row> rows_of(const train::RunConfig& config, std::size_t keys) {
  const std::int64_t groups = std::max<std::int64_t>(1, 2 * config.sampler.groups_per_step / kContexts + 1),
                     images = groups * config.sampler.images_per_group;
  std::vector<data::Row> rows;
  for (std::int64_t i = 0; i < kContexts * images; ++i) {
    rows.push_back({fmt::format("{:08}", i),
                    0,
                    {static_cast<std::int32_t>(i % kClasses)},
                    std::vector(keys, static_cast<std::int32_t>(i / images))});
  }
  return rows;
}

}  // namespace

void use_synthetic_images(train::RunConfig& config, const std::string& size,
                          const std::filesystem::path& folder, comm::Communicator& ranks) {
  data::Description description;
  std::vector<data::Row> rows;
  comm::together(ranks, [&] {
    description = description_of(config, layout_of(size));
    rows = rows_of(config, description.contexts.size());
  });
  const auto noise = [](std::int64_t index, std::span<std::byte> out) {
    RandomStream random({.seed = 1, .purpose = Purpose::synthetic, .sample = index});
    for (std::byte& value : out) value = static_cast<std::byte>(random.below(256));
  };
  (void)data::write_dataset(folder, description, rows, noise, {}, ranks);
  config.data.path = folder;
  config.data.contexts.clear();
  config.eval.splits.clear();
}

}  // namespace cohort::perf
