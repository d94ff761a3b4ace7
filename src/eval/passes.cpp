#include "eval/passes.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/data/grouping.h"

namespace cohort::eval {
namespace {

/// Images of one forward pass: enough to fill the cores, few enough for the cache, and not so many that ranks
/// have none. Small groups share a pass.
std::int64_t images_per_pass(std::int64_t rows) {
  constexpr std::int64_t kFewest = 16, kMost = 128, kPasses = 16;
  return std::clamp(rows / kPasses, kFewest, kMost);
}

}  // namespace

Passes::Passes(const data::Dataset& dataset, const std::string& group_by, const EvalConfig& config)
    : runs_(data::grouping_of(dataset, group_by).runs),
      images_per_group_(config.context_images),
      most_(images_per_pass(dataset.rows())) {
  std::erase_if(runs_, [](const data::ContextRun& run) { return run.rows == 0; });
  std::stable_sort(runs_.begin(), runs_.end(), [](const data::ContextRun& a, const data::ContextRun& b) {
    return a.context < b.context;
  });
}

std::optional<data::Group> Passes::next_group() {
  if (waiting_) return std::exchange(waiting_, std::nullopt);
  if (run_ == runs_.size()) return std::nullopt;
  data::Group group{runs_[run_].context, number_++, {}};
  while (run_ < runs_.size() && runs_[run_].context == group.context) {
    const data::ContextRun& run = runs_[run_];
    while (row_ < run.rows && std::ssize(group.rows) < images_per_group_)
      group.rows.push_back(run.first + row_++);
    if (row_ < run.rows) break;
    ++run_;
    row_ = 0;
  }
  return group;
}

data::StepPlan Passes::next() {
  data::StepPlan pass;
  std::int64_t images = 0;
  while (auto group = next_group()) {
    images += std::ssize(group->rows);
    if (!pass.empty() && images > most_) {
      waiting_ = std::move(group);
      break;
    }
    pass.push_back(*std::move(group));
  }
  return pass;
}

std::int64_t images_in(const data::StepPlan& groups) {
  std::int64_t images = 0;
  for (const data::Group& group : groups) images += std::ssize(group.rows);
  return images;
}

nn::Conditions evaluation_conditions(const data::Batch& batch, const at::Device& device) {
  nn::Conditions conditions;
  conditions.context = batch.context.to(device);
  conditions.group = batch.group.to(device);
  conditions.sample = batch.sample.to(device);
  return conditions;
}

at::Tensor in_order(const std::vector<at::Tensor>& parts, std::vector<std::int64_t> row_shape,
                    const at::Tensor& order, comm::Communicator& ranks) {
  row_shape.insert(row_shape.begin(), 0);
  const at::Tensor local = parts.empty() ? at::empty(row_shape) : at::cat(parts).contiguous();
  const at::Tensor gathered = ranks.gather_rows(local);
  return at::empty_like(gathered).index_copy_(0, order, gathered);
}

}  // namespace cohort::eval
