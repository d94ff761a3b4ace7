#include "train/run_end.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>

#include <fmt/format.h>

#include "cohort/checkpoint/export.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/train/model.h"

namespace cohort::train {
namespace {

void export_part(const checkpoint::Location& from, const std::string& part, const std::filesystem::path& file,
                 comm::Communicator& ranks) {
  const auto contents = checkpoint::Store(from.folder, ranks).contents(from.step);
  checkpoint::export_safetensors(from, encoder_prefix(contents, part), file);
}

}  // namespace

void write_judgement(const Judgement& judgement, std::int64_t step, std::int64_t epoch, RunRecord& record) {
  if (judgement.features) {
    record.write(features_json(*judgement.features, step, epoch));
    log_info(features_line(*judgement.features));
  }
  for (const eval::Evaluation& evaluation : judgement.evaluations) {
    record.write(eval::evaluation_json(evaluation, step, epoch));
    log_info(eval::evaluation_line(evaluation));
  }
}

double same_on_all(std::optional<double> score, comm::Communicator& ranks) {
  constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
  return ranks.sum(ranks.rank() == 0 ? score.value_or(kMissing) : 0.0);
}

void point_to_best(checkpoint::Store store, const BestScore& best, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    const auto step = best.best_step();
    if (ranks.rank() != 0 || !best.is_used() || step == store.best()) return;
    const bool is_there = step && checkpoint::locate(store.path_of(*step));
    if (step && !is_there)
      log_warning(fmt::format("the best checkpoint so far, {}, is not there any more",
                              store.path_of(*step).string()));
    store.keep_best(is_there ? step : std::nullopt);
  });
}

void keep_best(const BestRecord& now, checkpoint::Store store, RunRecord& record, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    store.keep_best(now.step);
    record.write(best_json(now));
  });
  log_info(fmt::format("the best so far by {}: {:.4f}", printable(now.by), now.score));
}

void write_end(EndRecord end, std::int64_t images, const RunFolder& folder, RunRecord& record) {
  end.seconds = record.trained_seconds();
  end.images_per_second = end.seconds > 0 ? static_cast<double>(images) / end.seconds : 0.0;
  if (!end.reason.empty()) log_info(fmt::format("ended after step {}: {}", end.step, printable(end.reason)));
  record.write(end_json(end));
  record.sync();
  log_info(fmt::format("{} steps in {}, {} img/s all ranks; weights in {}", end.step,
                       format_duration(std::chrono::duration<double>(end.seconds)),
                       format_count(std::llround(end.images_per_second)), folder.weights().string()));
}

bool is_complete(const std::optional<RunEnd>& end, const Progressed& run, const std::string& reason) {
  if (!end) return false;
  if (run.step >= run.total_steps) return true;
  return end->step == run.step && !reason.empty() && end->reason == reason;
}

void write_weights(const RunFolder& folder, const checkpoint::Location& last, const std::string& evaluated,
                   comm::Communicator& ranks) {
  export_part(last, evaluated, folder.weights(), ranks);
  const auto best = checkpoint::Store(folder.checkpoints(), ranks).best();
  if (best) export_part({folder.checkpoints(), *best}, evaluated, folder.best_weights(), ranks);
}

}  // namespace cohort::train
