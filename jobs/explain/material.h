#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/data/column_reader.h"
#include "cohort/data/dataset.h"

#include "jobs/trained_model.h"
#include "options.h"

namespace cohort::jobs {

/// A split, and what is read of its columns, some rows at a time.
struct Images {
  data::Dataset dataset;
  data::ColumnReader reader;
};

/// What all of it is made from.
struct Material {
  Images test;
  std::optional<Images> train;       ///< where neighbours or contexts are shown
  std::string label;                 ///< column; empty: none
  std::vector<std::string> classes;  ///< that the model answers; empty: it has no head
  std::vector<std::int64_t> rows;    ///< of `test`, to explain
};

/// Collective. Throws UsageError (also: no such image, no errors) or DataError.
Material open_material(const ExplainOptions& options, const TrainedModel& trained, comm::Communicator& ranks);

/// The label of a row of `test` as a place among the classes that the model answers; beyond them: none of
/// these; -1: not known.
using LabelOfRow = std::function<std::int64_t(std::int64_t row)>;
/// Refers to `material`. Precondition: it has a label.
LabelOfRow labels_as_answers(Material& material);

/// The context key that evaluation groups of `test` are of.
std::string explained_group_key(const TrainedModel& trained, const Material& material);

}  // namespace cohort::jobs
