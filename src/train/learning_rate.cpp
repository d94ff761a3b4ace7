#include "train/learning_rate.h"

#include <algorithm>
#include <cmath>

#include "cohort/core/schedule.h"

namespace cohort::train {
namespace {

/// Warm-up leads to the peak, below which it may begin: only what plateaus take away stops at min_lr.
double lowered(double peak, const PlateauConfig& plateau, std::int64_t reductions) {
  const double rate = peak * std::pow(plateau.factor, static_cast<double>(reductions));
  return std::max(rate, std::min(peak, plateau.min_lr));
}

}  // namespace

std::int64_t planned_steps(const RunConfig& config, std::int64_t steps_per_epoch) {
  return config.train.max_steps > 0 ? config.train.max_steps : config.train.epochs * steps_per_epoch;
}

double learning_rate(const RunConfig& config, std::int64_t step, std::int64_t total_steps,
                     std::int64_t steps_per_epoch, std::int64_t reductions) {
  const ScheduleConfig& schedule = config.schedule;
  const std::int64_t images = config.sampler.groups_per_step * config.sampler.images_per_group;
  double peak = config.optimizer.lr;
  if (schedule.reference_batch > 0)
    peak *= static_cast<double>(images) / static_cast<double>(schedule.reference_batch);
  double end = schedule.lr_end;
  if (schedule.plateau.patience > 0) end = peak = lowered(peak, schedule.plateau, reductions);
  return warmup_cosine(peak, end, step, total_steps,
                       schedule.warmup_steps + schedule.warmup_epochs * steps_per_epoch);
}

}  // namespace cohort::train
