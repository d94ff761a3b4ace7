#include <memory>
#include <optional>

#include <fmt/format.h>

#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/data/dataset.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/feature_file.h"

#include "commands.h"
#include "trained_model.h"

namespace cohort::jobs {
namespace {

struct ExtractOptions {
  ModelSource model;
  std::string split, out;
  bool logits = false;
};

ExitCode extract_features(const ExtractOptions& options, comm::Communicator& ranks) {
  const TrainedModel trained = load_trained_model(options.model, options.logits, ranks);
  const train::RunConfig& config = trained.config;
  std::optional<data::Dataset> dataset;
  comm::together(ranks, [&] { dataset = data::Dataset::open(config.data.path, options.split); });
  const std::string key = eval::evaluation_group_key(train::training_group_key(config), config.context.keys,
                                                     dataset->description());
  const eval::Prediction prediction =
      eval::predict(*trained.model, *dataset, key, config.eval, config.data.normalisation,
                    config.precision == train::Precision::bf16, ranks);
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) eval::write_features(options.out, *dataset, prediction, config.context.keys);
  });
  log_info(fmt::format("{}: features of {} images, {:.0f} images/s over all ranks", options.out,
                       format_count(dataset->rows()), prediction.images_per_second));
  return ExitCode::done;
}

}  // namespace

void add_extract(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ExtractOptions>();
  CLI::App* command = app.add_subcommand(
      "extract", "Write the features of a split, with ids, labels and contexts, to an HDF5 file");
  add_model_options(*command, options->model);
  command->add_option("--split", options->split, "split whose images are used")->required();
  command
      ->add_option("--out", options->out,
                   "HDF5 file to write: /features, /id, /labels, /context, /context_tokens")
      ->required();
  command->add_flag("--logits", options->logits,
                    "write /logits as well, for which the head must fit the dataset");
  command->callback([options, &job] {
    job.program = "cohort extract";
    job.with_ranks = [options](comm::Communicator& ranks) { return extract_features(*options, ranks); };
  });
}

}  // namespace cohort::jobs
