#pragma once
#include <string>

#include <CLI/CLI.hpp>

#include "cohort/data/dataset.h"
#include "cohort/eval/table.h"

#include "trained_model.h"

namespace cohort::jobs {

/// Where a table goes, and what of it.
struct TableOptions {
  std::string out, mean_by;
  bool overwrites = false, quotes_formulas = false;

  void add_to(CLI::App& command);
};

/// Collective. Before anything is computed: the format, what is there already, and the folder, which is made.
/// Throws UsageError or DataError.
void prepare_table(const TableOptions& options, comm::Communicator& ranks);

/// Before anything is computed. Throws UsageError: --mean-by is no context or label of the dataset.
void check_mean_by(const TableOptions& options, const data::Description& description);

/// The columns of names of all images of `dataset`, which has to outlive them, in its order: id, split (where
/// `with_split`), contexts, labels. A context or label of a name that is taken becomes context_NAME or
/// label_NAME. Reads ids and labels.
eval::Table image_table(const data::Dataset& dataset, bool with_split);

/// Of what made a table: run or weights, step, model, dataset, seed, version.
eval::TableAttributes attributes_of(const ModelSource& source, const TrainedModel& trained,
                                    const std::string& dataset);

}  // namespace cohort::jobs
