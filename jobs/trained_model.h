#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cohort/checkpoint/store.h"
#include "cohort/comm/communicator.h"
#include "cohort/data/dataset.h"
#include "cohort/data/signature.h"
#include "cohort/nn/vit.h"
#include "cohort/train/run_config.h"

namespace cohort::jobs {

/// Which weights a command works with: a run folder, or a safetensors file and the configuration of its
/// model.
struct ModelSource {
  std::string run{}, weights{}, config{}, data{}, part{};
  std::string normalisation = "model";  ///< whose mean and deviation: "model" or "data"
  std::string step{};                   ///< of the run's checkpoint, or "best"; empty: the newest
  std::vector<std::string> overrides{};
};

/// --run, --step, --part, --weights, --model and --normalisation: which model. Throws CLI::ParseError while
/// parsing when they contradict.
void add_weight_options(CLI::App& command, ModelSource& source);
/// The same with --data and key=value overrides.
void add_model_options(CLI::App& command, ModelSource& source);

/// A model in the words of the dataset that it is to work on: channels and context values are matched by
/// name.
struct TrainedModel {
  train::RunConfig
      config;  ///< data.path: the dataset to work on; data.label: the model's, if the dataset has it
  std::shared_ptr<nn::VisionTransformer> model;
  data::Signature signature;            ///< what it was trained on, in the order of its outputs and rows
  std::vector<std::string> channels;    ///< of the dataset that it looks at, in their order
  std::vector<double> mean, deviation;  ///< that pixels are normalised with; empty: the dataset's
  std::int64_t step = 0;                ///< steps it was trained for; 0: not known
};

/// --step N|best.
CLI::Option* add_step_option(CLI::App& command, std::string& step);
/// What it names in a run's folder of checkpoints. One rank calls it. Throws DataError: there is no such
/// checkpoint.
std::int64_t chosen_step(const std::string& step, const checkpoint::Store& store, const std::string& run);

/// Whether logits are wanted.
enum class Head {
  none,
  needed,          ///< a method that learns no classes, and weights without a fitting head, are refused
  where_there_is,  ///< none under a method that learns no classes
};

/// config.yaml of a run's folder. Throws DataError when there is none.
std::filesystem::path config_of_run(const std::string& run);

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

/// Collective. The splits `asked` for, else all others of the dataset but `besides`, to be scored by `label`.
/// Those without images are passed over with a warning, as are, unless they are asked for, those that
/// open_split() refuses or that have no labels. Throws UsageError (also: none is left) or DataError.
std::vector<data::Dataset> open_scored_splits(const TrainedModel& trained,
                                              const std::vector<std::string>& asked,
                                              const std::string& besides, const std::string& label,
                                              comm::Communicator& ranks);

}  // namespace cohort::jobs
