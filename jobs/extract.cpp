#include <memory>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/data/dataset.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/feature_file.h"
#include "cohort/train/run_owner.h"

#include "commands.h"
#include "extract_answers.h"
#include "features.h"
#include "table_file.h"
#include "table_of.h"
#include "trained_model.h"

namespace cohort::jobs {
namespace {

struct ExtractOptions {
  ModelSource model;
  std::string split;
  TableOptions table;
  bool logits = false, answers = false;
  eval::FeatureChoice choice;
};

/// The HDF5 file of all that a model computes of each image, and no table of features.
bool is_feature_file(const TableOptions& table) {
  return table.mean_by.empty() && table_format(table.out) == TableFormat::hdf5;
}

void check_options(const ExtractOptions& options) {
  const bool asks_features = options.logits || options.choice.patches || options.choice.layer >= 0;
  if (options.answers && asks_features) {
    throw UsageError({"answers of a method are written alone", "--answers",
                      "leave out --logits, --layer and --patch-tokens, or write features to another file"});
  }
  if (is_feature_file(options.table) || !(options.logits || options.answers || options.choice.patches))
    return;
  throw UsageError(
      {"a table holds features alone", "--logits, --answers, --patch-tokens",
       "write an .h5 file without --mean-by, or leave them out; cohort predict writes probabilities"});
}

void check_layer(const data::Dataset& dataset, const nn::Encoder& model, const ExtractOptions& options) {
  const nn::EncoderTraits& traits = model.traits();
  const data::ImageLayout& images = dataset.description().images;
  const std::int64_t patches = model.token_count(images.channels, images.height, images.width);
  if ((options.choice.patches && patches == 0) || (options.choice.layer >= 0 && traits.layers == 0)) {
    throw UsageError({fmt::format("a {} has no tokens", traits.kind), "--layer, --patch-tokens",
                      "leave them out: its features are the mean over all places"});
  }
  if (options.choice.layer >= traits.layers) {
    throw UsageError({fmt::format("the model has no block {}", options.choice.layer), "--layer",
                      fmt::format("give 0 … {}, or leave it out: behind the last norm", traits.layers - 1)});
  }
}

eval::TableAttributes attributes_of(const ExtractOptions& options, const TrainedModel& trained,
                                    const data::Dataset& dataset) {
  eval::TableAttributes attributes = attributes_of(options.model, trained, dataset.description().name);
  attributes.emplace_back("split", dataset.split());
  if (options.choice.layer >= 0) attributes.emplace_back("layer", options.choice.layer);
  return attributes;
}

eval::FeatureContents contents_of(const ExtractOptions& options, const Computation& what,
                                  const eval::TableAttributes& attributes) {
  const nn::EncoderTraits& traits = what.trained.model->traits();
  const data::ImageLayout& images = what.dataset.description().images;
  eval::FeatureContents contents{.width = traits.width,
                                 .patches = 0,
                                 .keys = {},
                                 .classes = {},
                                 .attributes = {},
                                 .passes = 0,
                                 .identity = what.identity()};
  contents.passes = eval::count_passes(what.dataset, what.group_by, what.trained.config.eval);
  if (!is_feature_file(options.table)) return contents;
  if (options.choice.patches)
    contents.patches = what.trained.model->token_count(images.channels, images.height, images.width);
  contents.keys = what.trained.config.context.keys;
  if (traits.classes > 0) contents.classes = what.trained.signature.classes;
  contents.attributes = attributes;
  for (const auto& [name, value] : attributes)
    std::visit(
        [&, &name = name](const auto& plain) { contents.identity += fmt::format("{} {}\n", name, plain); },
        value);
  return contents;
}

/// What rank 0 writes of features that lie in `features`.
void write_features_table(const ExtractOptions& options, const data::Dataset& dataset,
                          data::ColumnReader& columns, const std::filesystem::path& features,
                          const eval::TableAttributes& attributes) {
  const eval::FeatureReader reader(features);
  ImageRows images(dataset, columns, true);
  eval::TableBlocks blocks{
      dataset.rows(), [&](std::int64_t first, std::int64_t count) {
        eval::Table table = images.table(first, count);
        table.columns.push_back(
            {"features", eval::Table::Values{reader.read("features", first, count), {}, true}});
        return table;
      }};
  if (!options.table.mean_by.empty()) blocks = eval::blocks_of(mean_by(blocks, options.table.mean_by));
  write_table(options.table.out, attributes, std::span(&blocks, 1), options.table.quotes_formulas);
}

ExitCode extract_features(const ExtractOptions& options, comm::Communicator& ranks) {
  prepare_table(options.table, ranks);
  comm::together(ranks, [&] { check_options(options); });
  const auto owners = train::own_runs_of({options.table.out}, "cohort extract", ranks);
  if (options.answers) {
    const double rate = extract_answers(options.model, options.split, options.table.out, ranks);
    log_info(fmt::format("{}: answers, {:.0f} images/s over all ranks", options.table.out, rate));
    return ExitCode::done;
  }
  const TrainedModel trained =
      load_trained_model(options.model, options.logits ? Head::needed : Head::none, ranks);
  const train::RunConfig& config = trained.config;
  const data::Dataset dataset = open_split(trained, options.split, {}, ranks);
  comm::together(ranks, [&] {
    check_mean_by(options.table, dataset.description());
    check_layer(dataset, *trained.model, options);
  });
  const std::string key = eval::evaluation_group_key(train::training_group_key(config), config.context.keys,
                                                     dataset.description());
  const Computation what{trained, dataset, key, options.choice};
  const eval::TableAttributes attributes = attributes_of(options, trained, dataset);
  const bool is_file = is_feature_file(options.table);
  eval::FeatureContents contents;
  comm::together(ranks, [&] { contents = contents_of(options, what, attributes); });
  data::ColumnReader columns = columns_of(trained, options.split, ranks);
  eval::FeatureWriter writer(is_file ? options.table.out : options.table.out + ".features", dataset, columns,
                             contents, ranks);
  const double rate = compute_into(writer, what, ranks);
  if (is_file) {
    writer.commit();
  } else {
    wait_for_table();
    comm::together(ranks, [&] {
      if (ranks.rank() == 0) write_features_table(options, dataset, columns, writer.partial(), attributes);
    });
    writer.discard();
  }
  log_info(fmt::format("{}: features of {} images, {:.0f} images/s over all ranks", options.table.out,
                       format_count(dataset.rows()), rate));
  return ExitCode::done;
}

}  // namespace

void add_extract(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ExtractOptions>();
  CLI::App* command = &add_command(
      app,
      {"extract",
       "Write the features of a split, with ids, labels and contexts, as a table; when it is interrupted, "
       "the same command goes on",
       {"mpirun -n 4 cohort extract --run runs/x --split test --out features.parquet",
        "cohort extract --run runs/x --split test --mean-by well --out wells.csv"},
       command_line::endings_on_ranks()});
  add_model_options(*command, options->model);
  command->add_option("--split", options->split, "split whose images are used")->required();
  options->table.add_to(*command);
  command->add_flag("--logits", options->logits,
                    "write /logits as well, and /logit_classes: what each of its columns stands for (.h5)");
  command->add_flag(
      "--answers", options->answers,
      "write what the method of a run answers to its task, /answers/NAME, instead of features (.h5)");
  command
      ->add_option(
          "--layer", options->choice.layer,
          "take the tokens that enter this block, counted from 0, instead of those behind the last norm")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--patch-tokens", options->choice.patches,
                    "write the tokens of all patches as well (.h5)");
  command->callback([options, &job] {
    job.program = "cohort extract";
    job.with_ranks = [options](comm::Communicator& ranks) { return extract_features(*options, ranks); };
  });
}

}  // namespace cohort::jobs
