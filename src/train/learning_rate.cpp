#include "train/learning_rate.h"

#include "cohort/core/schedule.h"

namespace cohort::train {

std::int64_t planned_steps(const RunConfig& config, std::int64_t steps_per_epoch) {
  return config.train.max_steps > 0 ? config.train.max_steps : config.train.epochs * steps_per_epoch;
}

double learning_rate(const RunConfig& config, std::int64_t step, std::int64_t total_steps,
                     std::int64_t steps_per_epoch) {
  const ScheduleConfig& schedule = config.schedule;
  const std::int64_t images = config.sampler.groups_per_step * config.sampler.images_per_group;
  double peak = config.optimizer.lr;
  if (schedule.reference_batch > 0)
    peak *= static_cast<double>(images) / static_cast<double>(schedule.reference_batch);
  return warmup_cosine(peak, schedule.lr_end, step, total_steps,
                       schedule.warmup_steps + schedule.warmup_epochs * steps_per_epoch);
}

}  // namespace cohort::train
