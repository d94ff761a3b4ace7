#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <torch/nn/module.h>

#include "cohort/nn/conditions.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/norm_scope.h"
#include "cohort/nn/step_state.h"

namespace cohort::nn {

/// Batch normalisation (Ioffe and Szegedy, arXiv 1502.03167) of rows [B, C], maps [B, C, h, w] and volumes
/// [B, C, d, h, w], over all but the channels. Parameters weight, bias (none unless `affine`) and buffers
/// running_mean, running_var have PyTorch's names and shapes [C].
///
/// The running statistics move once a step for each Conditions::pass, in the order of their numbers, towards
/// the mean over the groups of the step (scope all: of its micro-batches) of their means and unbiased
/// variances:
///   running = (1 - momentum) running + momentum mean.
/// Of two runs over one group under one number both count. In scope group they have the same bits on any
/// number of ranks.
class BatchNorm final : public torch::nn::Module, public StepState, public Initialised {
 public:
  explicit BatchNorm(std::int64_t channels, NormScope scope = NormScope::group, bool affine = true,
                     double momentum = 0.1, double epsilon = 1e-5);

  /// `group_sizes`: images of each group of `values`, neighbours, as they follow one another; empty: one
  /// group of all. Collective over conditions.ranks in scope all, forward and backward. Without
  /// conditions.training, the running statistics. Throws UsageError when a group has one value a channel.
  at::Tensor forward(const at::Tensor& values, const Conditions& conditions,
                     std::span<const std::int64_t> group_sizes);

  at::Tensor sums() override;
  void finish_step() override;
  /// weight 1, bias 0.
  [[nodiscard]] std::optional<Draw> first_values_of(const std::string& name,
                                                    const torch::nn::Module& owner) const override;

 private:
  at::Tensor by_group(const at::Tensor& values, std::span<const std::int64_t> sizes, std::int64_t pass);
  at::Tensor over_all(const at::Tensor& values, const Conditions& conditions);
  void add(const at::Tensor& mean, const at::Tensor& unbiased_variance, std::int64_t pass);
  at::Tensor sums_of(std::int64_t pass);

  NormScope scope_;
  double momentum_, epsilon_;
  at::Tensor weight_, bias_;               // [C]; not affine: undefined
  at::Tensor running_mean_, running_var_;  // [C]
  at::Tensor sums_;  // i64 [passes (4 C + 1)]: means and variances in two parts each, groups
};

}  // namespace cohort::nn
