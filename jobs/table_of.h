#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cohort/data/column_reader.h"
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

/// The columns of names of the images of a dataset, block by block, in its order: id, split (where
/// `with_split`), contexts, labels. A context or label of a name that is taken becomes context_NAME or
/// label_NAME.
class ImageRows {
 public:
  /// `dataset` and `columns`, which reads its columns, have to outlive it.
  ImageRows(const data::Dataset& dataset, data::ColumnReader& columns, bool with_split);
  /// Rows `first` … `first` + `count` - 1. What the table shows stays until the next call. Throws DataError.
  eval::Table table(std::int64_t first, std::int64_t count);

 private:
  const data::Dataset& dataset_;
  data::ColumnReader& columns_;
  bool with_split_;
  std::vector<std::string> names_, ids_;
};

/// Of what made a table: run or weights, step, model, dataset, seed, version.
eval::TableAttributes attributes_of(const ModelSource& source, const TrainedModel& trained,
                                    const std::string& dataset);

}  // namespace cohort::jobs
