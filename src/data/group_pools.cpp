#include "data/group_pools.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"

namespace cohort::data {
namespace {

using Runs = std::vector<ContextRun>;

// Keeps the order of a turn apart from shuffles of rows and of all groups.
constexpr std::uint32_t kPoolsOfTurn = UINT32_MAX - 1;

// Kinds of shuffles of an epoch, and the pass through a pool's images in the bits above.
enum : std::uint32_t { kRows = 0, kBlocks = 1, kWithinBlock = 2, kKinds = 3 };

/// 2 + label, so that 0 is left for images whose labels do not count.
std::uint32_t label_key(std::int32_t label) {
  return static_cast<std::uint32_t>(label + 2);
}

std::int64_t rows_of(std::span<const ContextRun> runs) {
  return std::accumulate(runs.begin(), runs.end(), std::int64_t{0},
                         [](std::int64_t sum, const ContextRun& run) { return sum + run.rows; });
}

std::string name_of(std::span<const std::string> names, std::int32_t context) {
  const auto index = static_cast<std::size_t>(context);
  return index < names.size() ? names[index] : fmt::format("number {}", context);
}

/// "south (2 images), east (1 image) and 3 more"
std::string list_small(const std::vector<Runs>& small, std::span<const std::string> names) {
  constexpr std::size_t kListed = 5;
  std::vector<std::string> texts;
  for (const Runs& runs : std::span(small).first(std::min(small.size(), kListed))) {
    const std::int64_t images = rows_of(runs);
    texts.push_back(fmt::format("{} ({} image{})", printable_name(name_of(names, runs.front().context)),
                                images, images == 1 ? "" : "s"));
  }
  const std::string more = small.size() > kListed ? fmt::format(" and {} more", small.size() - kListed) : "";
  return join(texts, ", ") + more;
}

const char* have(std::size_t contexts) {
  return contexts == 1 ? " has" : "s have";
}

[[noreturn]] void refuse(const std::vector<Runs>& small, std::span<const std::string> names,
                         std::int64_t images) {
  std::int64_t smallest = images;
  for (const Runs& runs : small) smallest = std::min(smallest, rows_of(runs));
  throw DataError(
      {fmt::format("{} context{} fewer images than a group of {}: {}", small.size(), have(small.size()),
                   images, list_small(small, names)),
       "sampler.images_per_group",
       fmt::format("lower sampler.images_per_group to {}, or choose what becomes of small contexts: "
                   "sampler.small_contexts=pad, drop or merge",
                   smallest)});
}

/// Runs of each context that has images, contexts in order of their index.
std::vector<Runs> by_context(Runs runs) {
  std::stable_sort(runs.begin(), runs.end(),
                   [](const ContextRun& a, const ContextRun& b) { return a.context < b.context; });
  std::vector<Runs> contexts;
  for (const ContextRun& run : runs) {
    COHORT_CHECK(run.context >= 0, "rows from {} on have context {}", run.first, run.context);
    if (run.rows == 0) continue;
    if (contexts.empty() || contexts.back().back().context != run.context) contexts.emplace_back();
    contexts.back().push_back(run);
  }
  return contexts;
}

/// `total` in proportion to `weights`: each gets its share rounded down, and the largest remainders one more.
std::vector<std::int64_t> apportioned(std::int64_t total, const std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<std::int64_t> parts;
  std::vector<std::pair<double, std::size_t>> remainders;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double share = static_cast<double>(total) * weights[i] / sum;
    parts.push_back(static_cast<std::int64_t>(share));
    remainders.emplace_back(std::floor(share) - share, i);
  }
  std::sort(remainders.begin(), remainders.end());
  std::int64_t left = total - std::accumulate(parts.begin(), parts.end(), std::int64_t{0});
  for (std::size_t i = 0; left > 0; ++i, --left) ++parts[remainders[i % remainders.size()].second];
  return parts;
}

/// An order in which blocks of neighbours stay together: the blocks are shuffled, and so are the places
/// within a block.
class BlockOrder {
 public:
  BlockOrder(std::int64_t rows, std::int64_t block, const RandomKey& key)
      : rows_(rows),
        block_(block),
        order_((rows + block - 1) / block, stream(key, kBlocks)),
        within_(block, stream(key, kWithinBlock)) {}

  // The last block may be short: a value behind its end is shuffled again.
  std::int64_t operator()(std::int64_t place) const {
    do {
      place = order_(place / block_) * block_ + within_(place % block_);
    } while (place >= rows_);
    return place;
  }

 private:
  static RandomStream stream(RandomKey key, std::uint32_t kind) {
    key.layer += kind;
    return RandomStream(key);
  }

  std::int64_t rows_, block_;
  Permutation order_, within_;
};

}  // namespace

GroupPools::GroupPools(std::vector<ContextRun> runs, std::span<const std::string> context_names,
                       const SamplerConfig& config, std::span<const std::int32_t> label_of_row)
    : config_(config) {
  std::vector<Runs> small;
  for (Runs& context : by_context(std::move(runs))) {
    if (rows_of(context) >= config.images_per_group || config.small_contexts == SmallContexts::pad) {
      add_pool(context.front().context, context);
    } else {
      small.push_back(std::move(context));
    }
  }
  if (!small.empty()) settle(small, context_names);
  for (Pool& pool : pools_) {
    if (config.needs_labels()) sort_by_label(pool, label_of_row);
  }
  if (config.order == GroupOrder::cells) check_cells(context_names);
  for (Pool& pool : pools_) set_quotas(pool);
  count_groups();
}

void GroupPools::settle(const std::vector<std::vector<ContextRun>>& small,
                        std::span<const std::string> names) {
  const std::int64_t images = config_.images_per_group;
  if (config_.small_contexts == SmallContexts::refuse) refuse(small, names, images);
  const bool merges = config_.small_contexts == SmallContexts::merge;
  log_info(fmt::format("{} context{} fewer images than a group of {}; they {}: {}", small.size(),
                       have(small.size()), images, merges ? "form groups together" : "are left out",
                       list_small(small, names)));
  if (!merges) return;
  Runs all;
  for (const Runs& context : small) all.insert(all.end(), context.begin(), context.end());
  if (rows_of(all) < images) {
    throw DataError(
        {fmt::format(
             "all contexts with fewer images than a group of {} have {} together: they cannot be merged",
             images, rows_of(all)),
         "sampler.small_contexts",
         "lower sampler.images_per_group, or set sampler.small_contexts=pad or drop"});
  }
  add_pool(-1, all);
}

void GroupPools::check_cells(std::span<const std::string> names) const {
  const auto name = [&](const Pool& pool) { return printable_name(name_of(names, pool.context)); };
  const std::string fix =
      "leave such contexts out (data.contexts), or set sampler.order=shuffled sampler.balance_labels=true";
  const Pool* most = nullptr;  // of those with labels the one with most classes
  for (const Pool& pool : pools_) {
    if (pool.strata.front().label != label_key(-1)) {
      if (most == nullptr || pool.strata.size() > most->strata.size()) most = &pool;
    } else if (pool.strata.size() > 1) {
      throw DataError({fmt::format("{} has images without a label beside those with one", name(pool)),
                       "sampler.order", fix});
    }
  }
  if (most == nullptr) return;
  for (const Pool& pool : pools_) {
    const bool has_same =
        std::equal(pool.strata.begin(), pool.strata.end(), most->strata.begin(), most->strata.end(),
                   [](const Stratum& a, const Stratum& b) { return a.label == b.label; });
    if (has_same || pool.strata.front().label == label_key(-1)) continue;
    throw DataError({fmt::format("{} has images of other classes than {}: not as many of every class",
                                 name(pool), name(*most)),
                     "sampler.order", fix});
  }
  const auto classes = std::ssize(most->strata);
  if (config_.images_per_group % classes == 0) return;
  throw DataError({fmt::format("a group of {} images cannot have as many of each of {} classes",
                               config_.images_per_group, classes),
                   "sampler.images_per_group",
                   fmt::format("make it a multiple of {}, or set sampler.order=shuffled", classes)});
}

std::int64_t GroupPools::images() const noexcept {
  return std::accumulate(pools_.begin(), pools_.end(), std::int64_t{0},
                         [](std::int64_t sum, const Pool& pool) { return sum + pool.rows; });
}

void GroupPools::add_pool(std::int32_t context, std::span<const ContextRun> runs) {
  Pool& pool = pools_.emplace_back();
  pool.context = context;
  pool.runs.assign(runs.begin(), runs.end());
  for (const ContextRun& run : runs) {
    pool.rows += run.rows;
    pool.run_ends.push_back(pool.rows);
  }
  pool.strata.push_back({0, pool.rows, 0, 0});
}

void GroupPools::sort_by_label(Pool& pool, std::span<const std::int32_t> label_of_row) const {
  std::vector<std::int32_t> labels;
  for (const ContextRun& run : pool.runs) {
    const auto part =
        label_of_row.subspan(static_cast<std::size_t>(run.first), static_cast<std::size_t>(run.rows));
    labels.insert(labels.end(), part.begin(), part.end());
  }
  std::vector<std::uint32_t> order(labels.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return labels[a] < labels[b]; });
  pool.strata.clear();
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::int32_t its = labels[order[i]];
    const bool starts = i == 0 || labels[order[i - 1]] != its;
    if (starts) pool.strata.push_back({static_cast<std::int64_t>(i), 0, 0, label_key(its)});
    ++pool.strata.back().rows;
  }
  pool.by_label = std::move(order);
}

// Equal shares; what a label has too few images for goes to the others. In a padded pool all have too few.
// Labels that outnumber a group's images take turns: group().
void GroupPools::set_quotas(Pool& pool) const {
  std::vector<Stratum*> ascending;
  for (Stratum& stratum : pool.strata) ascending.push_back(&stratum);
  std::stable_sort(ascending.begin(), ascending.end(),
                   [](const Stratum* a, const Stratum* b) { return a->rows < b->rows; });
  std::int64_t left = config_.images_per_group;
  if (std::ssize(ascending) > left) {
    for (Stratum* stratum : ascending) stratum->quota = 1;
    return;
  }
  const bool padded = pool.rows < left || config_.order == GroupOrder::cells;
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    const std::int64_t share = left / static_cast<std::int64_t>(ascending.size() - i);
    ascending[i]->quota = padded ? share : std::min(share, ascending[i]->rows);
    left -= ascending[i]->quota;
  }
}

void GroupPools::count_groups() {
  std::vector<std::int64_t> groups;
  std::vector<double> weights;
  for (const Pool& pool : pools_) {
    groups.push_back(config_.repeats * std::max<std::int64_t>(1, pool.rows / config_.images_per_group));
    weights.push_back(std::pow(static_cast<double>(pool.rows), config_.balance));
  }
  if (config_.balance < 1.0 && !pools_.empty())
    groups = apportioned(std::accumulate(groups.begin(), groups.end(), std::int64_t{0}), weights);
  std::partial_sum(groups.begin(), groups.end(), std::back_inserter(group_ends_));
}

std::int64_t GroupPools::row_at(const Pool& pool, std::int64_t place) {
  const std::int64_t position =
      pool.by_label.empty() ? place
                            : static_cast<std::int64_t>(pool.by_label[static_cast<std::size_t>(place)]);
  const auto run = static_cast<std::size_t>(
      std::upper_bound(pool.run_ends.begin(), pool.run_ends.end(), position) - pool.run_ends.begin());
  const std::int64_t start = run == 0 ? 0 : pool.run_ends[run - 1];
  return pool.runs[run].first + position - start;
}

Group GroupPools::group(std::int64_t group, std::int64_t epoch, std::uint64_t seed) const {
  const auto index = static_cast<std::size_t>(
      std::upper_bound(group_ends_.begin(), group_ends_.end(), group) - group_ends_.begin());
  return group_of(pools_[index], group - (index == 0 ? 0 : group_ends_[index - 1]), epoch, seed);
}

Group GroupPools::group_in_turn(std::int64_t place, std::int64_t epoch, std::uint64_t seed) const {
  const std::int64_t pools = std::ssize(pools_), turn = place / pools;
  const Permutation order(pools, RandomStream({seed, Purpose::shuffle, epoch, turn, kPoolsOfTurn}));
  return group_of(pools_[static_cast<std::size_t>(order(place % pools))], turn, epoch, seed);
}

Group GroupPools::group_of(const Pool& pool, std::int64_t number, std::int64_t epoch,
                           std::uint64_t seed) const {
  Group result;
  result.context = pool.context;
  result.rows.reserve(static_cast<std::size_t>(config_.images_per_group));
  const auto key = [&](const Stratum& stratum) {
    const std::int64_t sample =
        static_cast<std::int64_t>(pool.context) * (std::int64_t{1} << 31) + stratum.label;
    return RandomKey{seed, Purpose::shuffle, epoch, sample, 0};
  };
  const auto labels = std::ssize(pool.strata);
  if (labels > config_.images_per_group) {
    // One image each of some labels; the next group goes on with the labels that follow.
    for (std::int64_t i = number * config_.images_per_group; i < (number + 1) * config_.images_per_group;
         ++i) {
      const Stratum& stratum = pool.strata[static_cast<std::size_t>(i % labels)];
      draw(pool, stratum, i / labels, key(stratum), result);
    }
    return result;
  }
  for (const Stratum& stratum : pool.strata) draw(pool, stratum, number, key(stratum), result);
  return result;
}

// Groups of a pass take their images one after another from one shuffle; the next pass has a shuffle of its
// own. A group never spans two passes, in which an image could occur twice, unless it needs more images than
// there are.
void GroupPools::draw(const Pool& pool, const Stratum& stratum, std::int64_t number, const RandomKey& key,
                      Group& group) const {
  const std::int64_t groups = std::max<std::int64_t>(1, stratum.rows / stratum.quota);
  const std::int64_t passes = (stratum.quota + stratum.rows - 1) / stratum.rows;  // of one group
  for (std::int64_t pass = 0; pass < passes; ++pass) {
    RandomKey shuffle = key;
    const std::int64_t copy = number / groups * passes + pass;
    shuffle.layer = static_cast<std::uint32_t>(copy) * kKinds + kRows;
    const std::int64_t first = number % groups * stratum.quota;
    const std::int64_t count = std::min(stratum.quota - pass * stratum.rows, stratum.rows);
    const auto add_all = [&](const auto& order) {
      for (std::int64_t i = 0; i < count; ++i)
        group.rows.push_back(row_at(pool, stratum.first + order(first + i)));
    };
    if (config_.block == 1) {
      add_all(Permutation(stratum.rows, RandomStream(shuffle)));
    } else {
      add_all(BlockOrder(stratum.rows, config_.block, shuffle));
    }
    group.copies.resize(group.rows.size(), static_cast<std::int32_t>(copy));
  }
}

}  // namespace cohort::data
