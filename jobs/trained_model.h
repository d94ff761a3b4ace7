#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/data/column_reader.h"
#include "cohort/data/dataset.h"
#include "cohort/data/signature.h"
#include "cohort/nn/encoder.h"
#include "cohort/train/columns.h"
#include "cohort/train/run_config.h"

#include "model_source.h"

namespace cohort::jobs {

/// A model in the words of the dataset that it is to work on: channels and context values are matched by
/// name.
struct TrainedModel {
  train::RunConfig
      config;  ///< data.path: the dataset to work on; data.label: the model's, if the dataset has it
  std::shared_ptr<nn::Encoder> model;
  data::Signature signature;            ///< what it was trained on, in the order of its outputs and rows
  std::vector<std::string> channels;    ///< of the dataset that it looks at, in their order
  std::vector<double> mean, deviation;  ///< that pixels are normalised with; empty: the dataset's
  std::int64_t step = 0;                ///< steps it was trained for; 0: not known
};

/// Whether logits are wanted.
enum class Head {
  none,
  needed,          ///< a method that learns no classes, and weights without a fitting head, are refused
  where_there_is,  ///< none under a method that learns no classes
};

/// Collective. Says with whose statistics pixels are normalised. Throws UsageError (also: the dataset has
/// other channels, another pixel type, or not the model's context keys) or DataError.
TrainedModel load_trained_model(const ModelSource& source, Head head, comm::Communicator& ranks);

/// Makes a dataset, which is not on a disk, of what a model was trained on: for images that are to be as
/// those of its training. `chosen_channels`: data.channels says which. Collective.
using DescriptionOf =
    std::function<data::Description(const data::Signature& trained_on, bool chosen_channels)>;

/// The same for images that are no dataset yet. Throws UsageError, in addition, when weights do not tell what
/// images they were trained on.
TrainedModel load_trained_model(const ModelSource& source, Head head, comm::Communicator& ranks,
                                const DescriptionOf& describe);

/// The channels that the model sees and its statistics from here on; throws UsageError when it cannot work
/// with `dataset`: contexts that a dictionary has no token for.
void make_fit(const TrainedModel& trained, data::Dataset& dataset);

/// Collective. A split of the dataset to work on, with the statistics of the model and the label columns
/// `labels`. Throws UsageError (also: no images; contexts that a dictionary has no token for) or DataError.
data::Dataset open_split(const TrainedModel& trained, const std::string& split,
                         const std::vector<std::string>& labels, comm::Communicator& ranks);

/// Collective. Reads the columns of a split of the dataset that a model works on.
data::ColumnReader columns_of(const TrainedModel& trained, const std::string& split,
                              comm::Communicator& ranks);

/// Collective. Of the values of a label or context there.
train::SplitCounts counts_of(const TrainedModel& trained, const std::string& split, const std::string& column,
                             comm::Communicator& ranks);

/// A split to score, and how many of its images have each value of what it is scored by.
struct ScoredSplit {
  data::Dataset dataset;
  train::SplitCounts counts;
};

/// Collective. The splits `asked` for, else all others of the dataset but `besides`, to be scored by `label`.
/// Those without images are passed over with a warning, as are, unless they are asked for, those that
/// open_split() refuses or that have no labels. Throws UsageError (also: none is left) or DataError.
std::vector<ScoredSplit> open_scored_splits(const TrainedModel& trained,
                                            const std::vector<std::string>& asked, const std::string& besides,
                                            const std::string& label, comm::Communicator& ranks);

}  // namespace cohort::jobs
