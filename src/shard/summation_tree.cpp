#include "summation_tree.h"

#include <algorithm>
#include <numeric>

#include "cohort/core/error.h"

namespace cohort::shard {
namespace {

std::int64_t middle(std::int64_t begin, std::int64_t end) {
  return begin + (end - begin) / 2;
}

}  // namespace

SummationTree::SummationTree(std::int64_t groups, int ranks)
    : groups_(groups), per_rank_(groups / std::max(ranks, 1)), ranks_(ranks) {
  COHORT_CHECK(ranks >= 1 && groups >= ranks && groups % ranks == 0, "{} groups on {} ranks", groups, ranks);
}

std::vector<int> SummationTree::sums_after_group(int rank) const {
  std::vector<int> sums;
  visit_rank({0, groups_}, of_rank(rank), sums);
  return sums;
}

void SummationTree::visit_rank(Range node, Range mine, std::vector<int>& sums) const {
  if (node.end <= mine.begin || node.begin >= mine.end) return;
  if (node.end - node.begin == 1) {
    sums.push_back(0);
    return;
  }
  const std::int64_t cut = middle(node.begin, node.end);
  visit_rank({node.begin, cut}, mine, sums);
  visit_rank({cut, node.end}, mine, sums);
  if (node.begin >= mine.begin && node.end <= mine.end) ++sums.back();
}

int SummationTree::nodes(int rank) const {
  const std::vector<int> sums = sums_after_group(rank);
  return static_cast<int>(sums.size()) - std::accumulate(sums.begin(), sums.end(), 0);
}

int SummationTree::most_nodes() const {
  int most = 0;
  for (int rank = 0; rank < ranks_; ++rank) most = std::max(most, nodes(rank));
  return most;
}

std::vector<SummationTree::Instruction> SummationTree::merge() const {
  std::vector<Instruction> program;
  std::vector<int> next_node(static_cast<std::size_t>(ranks_));
  visit_merge({0, groups_}, next_node, program);
  return program;
}

void SummationTree::visit_merge(Range node, std::vector<int>& next_node,
                                std::vector<Instruction>& program) const {
  const auto first = static_cast<int>(node.begin / per_rank_),
             last = static_cast<int>((node.end - 1) / per_rank_);
  if (first == last) {
    program.push_back({first, next_node[static_cast<std::size_t>(first)]++});
    return;
  }
  const std::int64_t cut = middle(node.begin, node.end);
  visit_merge({node.begin, cut}, next_node, program);
  visit_merge({cut, node.end}, next_node, program);
  program.push_back({});
}

}  // namespace cohort::shard
