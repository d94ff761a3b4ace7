// Which processors may each rank use, and are they enough for its threads?
#include <algorithm>
#include <sched.h>
#include <set>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "cohort/core/text.h"

#include "check.h"
#include "support/json.h"

namespace cohort::jobs::doctor {
namespace {

constexpr const char* kBind =
    "give each rank processors of its own: mpirun --map-by slot:PE=N --bind-to core, or srun "
    "--cpus-per-task=N --cpu-bind=cores; and OMP_NUM_THREADS=N";

/// The processors that this process may use.
std::vector<int> allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> allowed;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return allowed;  // more than 1,024: unknown
  for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (CPU_ISSET(processor, &set)) allowed.push_back(processor);
  }
  return allowed;
}

struct Bound {
  std::vector<int> allowed;
  int threads = 1;
};

/// Of the ranks of this host, by rank.
std::vector<Bound> gather_bindings(Cluster& cluster) {
  const Json mine{allowed_processors(), at::get_num_threads()};
  const auto texts = cluster.ranks.gather_texts(mine.dump());
  const std::string& here = cluster.hosts[static_cast<std::size_t>(cluster.ranks.rank())];
  std::vector<Bound> ranks;
  for (std::size_t rank = 0; rank < texts.size(); ++rank) {
    if (cluster.hosts[rank] != here) continue;
    const Json values = Json::parse(texts[rank]);
    ranks.push_back({values.at(0).get<std::vector<int>>(), values.at(1)});
  }
  return ranks;
}

std::set<int> all_processors(const std::vector<Bound>& ranks) {
  std::set<int> all;
  for (const Bound& rank : ranks) all.insert(rank.allowed.begin(), rank.allowed.end());
  return all;
}

int total_threads(const std::vector<Bound>& ranks) {
  int threads = 0;
  for (const Bound& rank : ranks) threads += rank.threads;
  return threads;
}

/// Ranks whose processors overlap without being the same: bound, and wrongly so.
bool some_overlap(const std::vector<Bound>& ranks) {
  std::set<std::vector<int>> kinds;
  std::size_t processors = 0;
  for (const Bound& rank : ranks) {
    if (kinds.insert(rank.allowed).second) processors += rank.allowed.size();
  }
  return processors > all_processors(ranks).size();
}

}  // namespace

Finding check_binding(Cluster& cluster) {
  const std::vector<Bound> ranks = gather_bindings(cluster);
  const Bound& mine = ranks[static_cast<std::size_t>(cluster.local_rank)];
  const std::size_t processors = all_processors(ranks).size();
  if (processors == 0) return {Status::ok, "unknown: the system does not tell", ""};
  const int threads = total_threads(ranks);
  if (static_cast<std::size_t>(mine.threads) > mine.allowed.size()) {
    return {Status::warn,
            fmt::format("{} threads on {} {}", mine.threads, mine.allowed.size(),
                        mine.allowed.size() == 1 ? "processor" : "processors"),
            kBind};
  }
  if (some_overlap(ranks))
    return {Status::warn, fmt::format("the {} ranks are bound to processors that overlap", ranks.size()),
            kBind};
  if (static_cast<std::size_t>(threads) > processors) {
    return {
        Status::warn,
        fmt::format("{} ranks with {} threads in all share {} processors", ranks.size(), threads, processors),
        kBind};
  }
  const bool shared = ranks.size() > 1 && mine.allowed.size() == processors;
  return {Status::ok,
          fmt::format("{} x {} {} on {} processors{}", ranks.size(), mine.threads,
                      mine.threads == 1 ? "thread" : "threads", processors, shared ? ", not bound" : ""),
          ""};
}

}  // namespace cohort::jobs::doctor
