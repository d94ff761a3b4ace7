#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "cohort/checkpoint/store.h"
#include "cohort/comm/communicator.h"
#include "cohort/train/metrics.h"

#include "train/best_score.h"
#include "train/judgement.h"
#include "train/run_folder.h"
#include "train/run_record.h"

// What a run does with its evaluations, and at its end. One rank calls these, unless they say otherwise.
namespace cohort::train {

/// How a run goes on behind an evaluation.
enum class Verdict {
  go_on,
  given_up,  ///< one of the ranks was asked to stop: the evaluation is made when the run goes on
  over,      ///< train.early_stopping
};

/// Lines for metrics.jsonl and the log.
void write_judgement(const Judgement& judgement, std::int64_t step, std::int64_t epoch, RunRecord& record);

/// Collective. Has `best` name the checkpoint of this step, which is complete.
void keep_best(const BestRecord& now, checkpoint::Store store, RunRecord& record, comm::Communicator& ranks);
/// `images`: trained on, over all steps; gives the rate.
void write_end(EndRecord end, std::int64_t images, const RunFolder& folder, RunRecord& record);

/// Collective. The score of rank 0, not a number without one: processors of other ranks may differ in the
/// last bit.
double same_on_all(std::optional<double> score, comm::Communicator& ranks);

/// Collective; when the evaluation of the step that the run goes on from is made. Has `best` in the folder of
/// checkpoints name what the run knows as its best, which is older than what it named when the run goes on
/// from an older checkpoint. A warning when that checkpoint is not there.
void point_to_best(checkpoint::Store store, const BestScore& best, comm::Communicator& ranks);

struct Progressed {
  std::int64_t step, total_steps;
};
/// Whether a run whose metrics end so has nothing to do: its steps are done, or it ended early for the same
/// `reason` (reason_to_end_early()) as it would now.
bool is_complete(const std::optional<RunEnd>& end, const Progressed& run, const std::string& reason);

/// Exports the encoder `evaluated` of the last checkpoint, and of the best one. Throws DataError.
void write_weights(const RunFolder& folder, const checkpoint::Location& last, const std::string& evaluated,
                   comm::Communicator& ranks);

}  // namespace cohort::train
