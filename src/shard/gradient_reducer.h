#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <torch/csrc/autograd/function.h>

#include "cohort/comm/mesh.h"

#include "reduction.h"
#include "summation_tree.h"
#include "unit.h"

namespace cohort::shard {

/// Takes the gradients of all trained parameters as autograd makes them and reduces those of a unit over the
/// ranks as soon as they are complete. Reductions start in one order on all ranks, whatever order gradients
/// become complete in: that of the last backward pass, before the first one last unit first; the root unit,
/// which holds the embeddings, at the end.
class GradientReducer {
 public:
  struct Options {
    bool reproducible = false;  ///< add the gradients of all passes and ranks in the order of a SummationTree
    bool every_pass = false;    ///< reduce after each backward pass, not only after the last
    bool complete_on_arrival = false;  ///< a unit is complete when each of its parameters has got a gradient
  };
  /// `units`, root last, and `mesh` outlive this.
  GradientReducer(std::span<Unit> units, const Options& options, comm::DeviceMesh& mesh);
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;
  ~GradientReducer();

  void begin_step(int backward_passes);
  /// The order in which units become complete, the same on every rank: of the reductions from the next step
  /// on. `order` has every unit but the root.
  void expect(std::vector<std::size_t> order);
  /// Collective. No more gradients of this unit will come in this backward pass.
  void complete(std::size_t unit);
  /// Collective. The backward pass is over. After the last one of the step the shards' gradients are final.
  void finish_pass();
  /// Whether the step has a backward pass left.
  [[nodiscard]] bool is_open() const noexcept { return pass_ < passes_; }
  std::chrono::duration<double> take_wait() noexcept;
  /// From now on, or no longer, looks at each gradient as it comes, before it is reduced.
  void watch_gradients(bool on);
  /// The first parameter whose gradient on this rank was not finite while they were watched; empty: none.
  [[nodiscard]] const std::string& first_bad_gradient() const noexcept { return bad_; }

 private:
  using Clock = std::chrono::steady_clock;

  struct Source {  // a trained parameter
    std::shared_ptr<torch::autograd::Node> accumulator;
    std::uintptr_t hook = 0;
    at::Tensor parameter;
    std::size_t unit = 0, flat = 0, slot = 0;
    bool arrived = false;
  };
  struct Progress {  // of a unit, in this backward pass
    std::size_t sources = 0, missing = 0;
    bool complete = false;
  };

  void add_sources(std::size_t unit);
  void begin_pass();
  void gradient_arrived(Source& source);
  void start_complete();
  void start(FlatParameter& flat);
  void start_tree(FlatParameter& flat);
  void launch(std::unique_ptr<Reduction> reduction);
  void limit_in_flight(std::size_t most);
  [[nodiscard]] bool is_last_pass() const noexcept { return pass_ + 1 == passes_; }
  [[nodiscard]] bool reduces() const noexcept { return options_.every_pass || is_last_pass(); }

  std::span<Unit> units_;
  Options options_;
  comm::DeviceMesh& mesh_;
  std::deque<Source> sources_;                 // a deque: hooks keep addresses
  std::vector<Progress> progress_;             // by unit
  std::vector<std::size_t> order_, expected_;  // of the units' reductions: in this step, in the next
  std::size_t started_ = 0;                    // of order_, in this pass
  int passes_ = 0, pass_ = 0;
  std::optional<SummationTree> tree_;
  std::vector<int> sums_after_pass_;
  std::unordered_map<const FlatParameter*, std::vector<at::Tensor>> stacks_;  // of the tree
  std::deque<std::unique_ptr<Reduction>> in_flight_;
  Clock::duration wait_{};
  bool watches_ = false;
  std::string bad_;
};

}  // namespace cohort::shard
