#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cohort/core/random.h"
#include "cohort/data/context_sampler.h"

namespace cohort::data {

/// What the groups of an epoch are drawn from: a pool for each context, or one for all that are too small.
/// Groups are numbered through the pools; images of a pool are numbered through its runs ("positions").
class GroupPools {
 public:
  GroupPools(std::vector<ContextRun> runs, std::span<const std::string> context_names,
             const SamplerConfig& config, std::span<const std::int32_t> label_of_row);

  [[nodiscard]] std::int64_t groups() const noexcept { return group_ends_.empty() ? 0 : group_ends_.back(); }
  [[nodiscard]] std::int64_t images() const noexcept;
  /// Context and rows of group number `group` of an epoch.
  [[nodiscard]] Group group(std::int64_t group, std::int64_t epoch, std::uint64_t seed) const;
  /// The group at `place` of an epoch in which all pools take turns, each turn in another order.
  [[nodiscard]] Group group_in_turn(std::int64_t place, std::int64_t epoch, std::uint64_t seed) const;

 private:
  /// Images of a pool that have one label, or all of them.
  struct Stratum {
    std::int64_t first = 0, rows = 0;  ///< positions, in the order by label if there is one
    std::int64_t quota = 0;            ///< images of each group that come from here
    std::uint32_t label = 0;           ///< 2 + label; 0 when labels do not matter
  };
  struct Pool {
    std::int32_t context = 0;  ///< -1: several
    std::int64_t rows = 0;
    std::vector<ContextRun> runs;
    std::vector<std::int64_t> run_ends;  ///< positions behind each run
    std::vector<Stratum> strata;
    std::vector<std::uint32_t> by_label;  ///< positions by label; empty when labels do not matter
  };

  /// What becomes of the contexts that are too small; each has runs of its own.
  void settle(const std::vector<std::vector<ContextRun>>& small, std::span<const std::string> names);
  /// Throws DataError unless each pool can give as many images of every class.
  void check_cells(std::span<const std::string> names) const;
  [[nodiscard]] Group group_of(const Pool& pool, std::int64_t number, std::int64_t epoch,
                               std::uint64_t seed) const;
  void add_pool(std::int32_t context, std::span<const ContextRun> runs);
  void sort_by_label(Pool& pool, std::span<const std::int32_t> label_of_row) const;
  void set_quotas(Pool& pool) const;
  void count_groups();
  [[nodiscard]] static std::int64_t row_at(const Pool& pool, std::int64_t place);
  void draw(const Pool& pool, const Stratum& stratum, std::int64_t number, const RandomKey& key,
            Group& group) const;

  SamplerConfig config_;
  std::vector<Pool> pools_;
  std::vector<std::int64_t> group_ends_;  ///< groups of each pool and of all before it
};

}  // namespace cohort::data
