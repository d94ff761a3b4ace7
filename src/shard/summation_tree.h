#pragma once
#include <cstdint>
#include <vector>

namespace cohort::shard {

/// The order in which the gradients of the groups of a step are added, so that the sum has the same bits on
/// any number of ranks: a binary tree over the numbers of the groups, each node cut in the middle. A rank
/// adds what lies within its own groups; what is left of the tree is added by whoever owns the values.
class SummationTree {
 public:
  /// `groups` of a step, the same number on each of `ranks`, contiguous. Preconditions: ranks >= 1 divides
  /// groups.
  SummationTree(std::int64_t groups, int ranks);

  /// For each group of `rank`, in order: how often its gradient, put on a stack, and the newest entries below
  /// are replaced by their sum (the lower entry first).
  [[nodiscard]] std::vector<int> sums_after_group(int rank) const;
  /// Entries left on the stack of `rank` after its last group.
  [[nodiscard]] int nodes(int rank) const;
  [[nodiscard]] int most_nodes() const;

  /// One instruction of the program that adds what the ranks have left: push node `node` of `rank`, or, when
  /// rank < 0, replace the two newest entries by their sum.
  struct Instruction {
    int rank = -1, node = 0;
  };
  [[nodiscard]] std::vector<Instruction> merge() const;

 private:
  struct Range {
    std::int64_t begin, end;
  };
  [[nodiscard]] Range of_rank(int rank) const { return {rank * per_rank_, (rank + 1) * per_rank_}; }
  void visit_rank(Range node, Range mine, std::vector<int>& sums) const;
  void visit_merge(Range node, std::vector<int>& next_node, std::vector<Instruction>& program) const;

  std::int64_t groups_, per_rank_;
  int ranks_;
};

}  // namespace cohort::shard
