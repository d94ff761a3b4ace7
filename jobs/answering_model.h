#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/data/dataset.h"
#include "cohort/data/signature.h"
#include "cohort/eval/evaluation.h"
#include "cohort/method/method.h"
#include "cohort/train/run_config.h"

#include "model_source.h"

namespace cohort::jobs {

/// The method of a run with a task (method::Traits::task), with the weights of a checkpoint.
struct AnsweringModel {
  train::RunConfig config;  ///< data.path: the dataset to work on
  std::unique_ptr<method::Method> method;
  data::Signature signature;  ///< what it was trained on
  eval::TaskColumns columns;
  bool uses_own_statistics = false;  ///< the dataset's, not those of its training
  std::int64_t step = 0;             ///< steps it was trained for
};

/// The task that answers of a run, or of a configuration's model, are scored as; empty: its head's classes
/// are, or it has none. Throws UsageError or DataError.
std::string task_of(const ModelSource& source);

/// Collective. Precondition: task_of() is not empty. Throws UsageError (also: weights instead of a run; the
/// dataset has other channels, other context values for a dictionary, or a target with other names) or
/// DataError.
AnsweringModel load_answering_model(const ModelSource& source, comm::Communicator& ranks);

/// Collective. The splits `asked` for, else all but the training split, with the statistics of the model.
/// Those without images are passed over with a warning, as are, unless they are asked for, those with
/// contexts that a dictionary has no token for. Throws UsageError (also: none is left) or DataError.
std::vector<data::Dataset> open_answered_splits(const AnsweringModel& model,
                                                const std::vector<std::string>& asked,
                                                comm::Communicator& ranks);

}  // namespace cohort::jobs
