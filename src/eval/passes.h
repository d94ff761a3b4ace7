#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/data/batch.h"
#include "cohort/data/context_runs.h"
#include "cohort/data/context_sampler.h"
#include "cohort/data/dataset.h"
#include "cohort/eval/eval_config.h"
#include "cohort/nn/context.h"

namespace cohort::eval {

/// data::evaluation_plan() as forward passes, one after the other, the same on any number of ranks, so that
/// each image is computed beside the same others and its numbers have the same bits. Holds no rows but those
/// of the next pass.
class Passes {
 public:
  /// In groups of config.context_images of the contexts of `group_by`. Throws UsageError or DataError.
  Passes(const data::Dataset& dataset, const std::string& group_by, const EvalConfig& config);

  /// The groups of the next pass; none: there is no more.
  data::StepPlan next();

 private:
  std::optional<data::Group> next_group();

  std::vector<data::ContextRun> runs_;  // by context
  std::int64_t images_per_group_, most_;
  std::size_t run_ = 0;
  std::int64_t row_ = 0, number_ = 0;   // within the run; of the group
  std::optional<data::Group> waiting_;  // that did not fit the last pass
};

std::int64_t images_in(const data::StepPlan& groups);

/// Of an evaluation pass over `batch` on `device`: group scope, no dropout.
nn::Conditions evaluation_conditions(const data::Batch& batch, const at::Device& device);

/// Collective. The rows [n, row_shape…] that ranks have in `parts`, all of them, row i at `order`[i]; on
/// every rank. `order`: of the gathered rows. `row_shape` serves ranks without any.
at::Tensor in_order(const std::vector<at::Tensor>& parts, std::vector<std::int64_t> row_shape,
                    const at::Tensor& order, comm::Communicator& ranks);

}  // namespace cohort::eval
