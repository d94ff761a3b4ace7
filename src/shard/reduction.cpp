#include "reduction.h"

#include <optional>
#include <utility>

#include <ATen/ATen.h>

namespace cohort::shard {
namespace {

class PlainReduction final : public Reduction {
 public:
  PlainReduction(FlatParameter& flat, at::Tensor gradient, bool add, comm::DeviceMesh& mesh)
      : flat_(flat), add_(add), mesh_(mesh) {
    if (mesh_.shards() == 1) {
      part_ = std::move(gradient);
      sum_over_replicas();
      return;
    }
    part_ = needs_copy() ? flat_.pool()->tensor(gradient.numel() / mesh_.shards(), gradient.scalar_type())
                         : flat_.shard_gradient();
    scatter_.emplace(mesh_.gradients().reduce_scatter(part_, gradient));
  }

  void advance() override {
    if (!scatter_) return;
    scatter_->wait();
    scatter_.reset();
    sum_over_replicas();
  }

  void finish() override {
    advance();
    if (replicas_) replicas_->wait();
    const at::Tensor& shard = flat_.shard_gradient();
    if (part_.is_same(shard)) return;
    const at::NoGradGuard no_grad;
    if (add_) {
      shard.add_(part_);
    } else {
      shard.copy_(part_);
    }
  }

 private:
  [[nodiscard]] bool needs_copy() const { return add_ || flat_.reduce_type() != at::kFloat; }

  void sum_over_replicas() {
    if (mesh_.replicas() > 1) replicas_.emplace(mesh_.replicate().all_reduce(part_));
  }

  FlatParameter& flat_;
  bool add_;
  comm::DeviceMesh& mesh_;
  at::Tensor part_;  // of this rank's shard
  std::optional<comm::Work> scatter_, replicas_;
};

// Every rank owns one block of the values, receives it from all others, adds the versions in the order of the
// tree and passes the sum on to those that hold the same shard.
class TreeReduction final : public Reduction {
 public:
  TreeReduction(FlatParameter& flat, std::vector<at::Tensor> nodes, const SummationTree& tree,
                comm::DeviceMesh& mesh)
      : flat_(flat), tree_(tree), mesh_(mesh) {
    const int rounds = tree.most_nodes();
    for (int round = 0; round < rounds; ++round) {
      // A rank with fewer nodes sends the last one again; nobody looks at it.
      const auto node = std::min(static_cast<std::size_t>(round), nodes.size() - 1);
      received_.push_back(flat_.pool()->tensor(flat_.padded(), at::kFloat));
      exchanges_.push_back(mesh_.world().all_to_all(received_.back(), by_rank(nodes[node])));
    }
  }

  void advance() override {
    if (exchanges_.empty()) return;
    for (comm::Work& exchange : exchanges_) exchange.wait();
    exchanges_.clear();
    const at::NoGradGuard no_grad;
    own_block().copy_(merged());
    received_.clear();
    if (mesh_.replicas() > 1) {
      gather_.emplace(mesh_.replicate().all_gather(flat_.shard_gradient(), own_block()));
    }
  }

  void finish() override {
    advance();
    if (gather_) gather_->wait();
  }

 private:
  [[nodiscard]] std::int64_t block() const { return flat_.padded() / mesh_.world().size(); }

  // The part of the shard's gradient that this rank sums up: shards are made of one block for each replica.
  [[nodiscard]] at::Tensor own_block() const {
    return flat_.shard_gradient().narrow(0, mesh_.replica() * block(), block());
  }

  // Blocks lie in the order (shard, replica), ranks in the order (replica, shard).
  [[nodiscard]] at::Tensor by_rank(const at::Tensor& whole) const {
    if (mesh_.replicas() == 1 || mesh_.shards() == 1) return whole;
    return whole.view({mesh_.shards(), mesh_.replicas(), block()}).transpose(0, 1).contiguous().flatten();
  }

  [[nodiscard]] at::Tensor merged() const {
    std::vector<at::Tensor> stack;
    for (const SummationTree::Instruction& instruction : tree_.merge()) {
      if (instruction.rank >= 0) {
        stack.push_back(received_[static_cast<std::size_t>(instruction.node)].narrow(
            0, instruction.rank * block(), block()));
        continue;
      }
      const at::Tensor upper = stack.back();
      stack.pop_back();
      stack.back().add_(upper);
    }
    return stack.front();
  }

  FlatParameter& flat_;
  const SummationTree& tree_;
  comm::DeviceMesh& mesh_;
  std::vector<at::Tensor> received_;  // by round: a block from every rank
  std::vector<comm::Work> exchanges_;
  std::optional<comm::Work> gather_;
};

}  // namespace

std::unique_ptr<Reduction> start_reduction(FlatParameter& flat, at::Tensor gradient, bool add,
                                           comm::DeviceMesh& mesh) {
  return std::make_unique<PlainReduction>(flat, std::move(gradient), add, mesh);
}

std::unique_ptr<Reduction> start_tree_reduction(FlatParameter& flat, std::vector<at::Tensor> nodes,
                                                const SummationTree& tree, comm::DeviceMesh& mesh) {
  return std::make_unique<TreeReduction>(flat, std::move(nodes), tree, mesh);
}

}  // namespace cohort::shard
