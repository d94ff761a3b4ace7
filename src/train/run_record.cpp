#include "train/run_record.h"

#include "cohort/core/log.h"

namespace cohort::train {

void RunRecord::begin(std::int64_t steps_done, bool drop_evaluation, bool tensorboard,
                      const std::string& start_line) {
  if (!first_rank_) return;
  trained_seconds_ = trim_metrics(folder_.metrics(), steps_done, drop_evaluation).seconds;
  if (tensorboard) tensorboard_.emplace(folder_.tensorboard(), folder_.metrics(), trained_seconds_);
  metrics_.emplace(folder_.metrics());
  metrics_->write(start_line);
}

void RunRecord::step(const StepRecord& record) {
  if (!first_rank_) return;
  trained_seconds_ += record.seconds;
  write(step_json(record));
  progress_.step(record);
}

void RunRecord::rank_times(const RankTimes& times, std::int64_t steps_done,
                           const std::vector<std::string>& hosts) {
  write(rank_times_json(times, steps_done, hosts));
  const auto straggler = find_straggler(times);
  if (!straggler) return;
  clear_terminal();
  log_warning(straggler_line(*straggler, hosts));
}

void RunRecord::write(const std::string& line) {
  if (!first_rank_) return;
  metrics_->write(line);
  if (tensorboard_) tensorboard_->write(line);
}

void RunRecord::sync() {
  if (first_rank_) metrics_->sync();
}

}  // namespace cohort::train
