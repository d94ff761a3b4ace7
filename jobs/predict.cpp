#include "cohort/eval/predict.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/data/grouping.h"
#include "cohort/eval/evaluation.h"
#include "cohort/train/model.h"
#include "cohort/train/run_owner.h"

#include "commands.h"
#include "features.h"
#include "heat_maps.h"
#include "image_files.h"
#include "new_file.h"
#include "table_file.h"
#include "table_of.h"

namespace cohort::jobs {
namespace {

constexpr std::int64_t kTilesTogether = 4096;

struct PredictOptions {
  ModelSource model;
  ImageOptions images;
  std::vector<std::string> splits;
  TableOptions table;
  std::string heat_maps{};  ///< folder; empty: none
};

/// A model, and the images to predict: a dataset's, or files.
struct Subject {
  TrainedModel trained;
  std::optional<ImageFiles> files;
  std::vector<std::string> splits;
};

/// Collective. Whether rank 0 sees something there.
bool is_there(const std::filesystem::path& path, comm::Communicator& ranks) {
  std::error_code error;
  return ranks.max(std::int64_t{ranks.rank() == 0 && std::filesystem::exists(path, error)}) > 0;
}

/// Collective. Of what stands where images do, KEY=VALUE is for the configuration, unless there is such a
/// file.
void take_overrides(PredictOptions& options, comm::Communicator& ranks) {
  std::vector<std::string> paths;
  for (std::string& argument : options.images.paths) {
    const std::size_t equals = argument.find('=');
    const bool is_override =
        equals != std::string::npos && argument.find('/') > equals && !is_there(argument, ranks);
    (is_override ? options.model.overrides : paths).push_back(std::move(argument));
  }
  options.images.paths = std::move(paths);
  options.images.skipped = options.table.out + ".skipped.csv";
}

std::vector<std::string> split_names(const data::Description& description,
                                     const std::vector<std::string>& asked) {
  std::vector<std::string> names = asked;
  if (names.empty())
    for (const data::Split& split : description.splits) names.push_back(split.name);
  for (const std::string& name : names) (void)description.split(name);
  return names;
}

void refuse_file_options(const ImageOptions& images) {
  if (images.layout.empty() && images.on_error == "stop" && images.axes.empty()) return;
  throw UsageError({"a dataset has its contexts and axes, and whole images alone",
                    "--layout, --on-error, --axes",
                    "leave them out: they are for images that are no dataset"});
}

/// Collective.
Subject open_dataset(PredictOptions options, comm::Communicator& ranks) {
  comm::together(ranks, [&] { refuse_file_options(options.images); });
  if (!options.images.paths.empty()) options.model.data = options.images.paths.front();
  Subject subject{load_trained_model(options.model, Head::needed, ranks), {}, {}};
  const data::Description description = data::Description::read(subject.trained.config.data.path, ranks);
  comm::together(ranks, [&] {
    check_mean_by(options.table, description);
    subject.splits = data::with_images(description, split_names(description, options.splits));
    if (subject.splits.empty())
      throw DataError(
          {"there are no images", subject.trained.config.data.path.string(), "choose another --split"});
  });
  return subject;
}

/// Collective.
Subject open_files(const PredictOptions& options, comm::Communicator& ranks) {
  Subject subject;
  const auto describe = [&](const data::Signature& trained_on, bool chosen_channels) {
    subject.files.emplace(options.images, trained_on, chosen_channels, ranks);
    return subject.files->description();
  };
  subject.trained = load_trained_model(options.model, Head::needed, ranks, describe);
  comm::together(ranks, [&] {
    check_mean_by(options.table, subject.files->description());
    subject.splits = split_names(subject.files->description(), options.splits);
  });
  return subject;
}

/// Collective.
Subject find_subject(const PredictOptions& options, comm::Communicator& ranks) {
  const std::vector<std::string>& paths = options.images.paths;
  const bool is_dataset =
      paths.empty() ||
      (paths.size() == 1 && is_there(std::filesystem::path(paths.front()) / "dataset.json", ranks));
  if (is_dataset) return open_dataset(options, ranks);
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    for (const std::string& path : paths) {
      if (!std::filesystem::exists(path))
        throw DataError({"there is no such image, folder or dataset", path, "check the path"});
    }
  });
  return open_files(options, ranks);
}

/// Collective.
data::Dataset open(const Subject& subject, const std::string& split, comm::Communicator& ranks) {
  if (!subject.files) return open_split(subject.trained, split, {}, ranks);
  std::optional<data::Dataset> dataset;
  comm::together(ranks, [&] {
    dataset = subject.files->open(split);
    make_fit(subject.trained, *dataset);
  });
  return *std::move(dataset);
}

/// What images are grouped by: as in training where they have these columns, else by the model's first key.
std::string group_key(const train::RunConfig& config, const data::Description& description) {
  const std::string trained = train::training_group_key(config);
  const std::vector<std::string> keys = data::grouping_keys(trained);
  const bool has_them = std::all_of(keys.begin(), keys.end(), [&](const std::string& key) {
    return std::any_of(description.contexts.begin(), description.contexts.end(),
                       [&](const data::ContextColumn& column) { return column.name == key; });
  });
  return eval::evaluation_group_key(has_them ? trained : "", config.context.keys, description);
}

/// A split, and what the model says of it, in a file until it stands in the table.
struct Predicted {
  std::unique_ptr<data::Dataset> dataset;
  std::unique_ptr<data::ColumnReader> columns;
  std::unique_ptr<eval::FeatureWriter> logits;
};

/// That of image files says nothing of their pixels: nobody goes on with it.
std::string identity_of(const Subject& subject, const Computation& what) {
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return subject.files ? fmt::format("files at {}", now) : what.identity();
}

/// Collective. `number`: of the split.
Predicted predict_split(const Subject& subject, std::size_t number, const std::string& out,
                        comm::Communicator& ranks) {
  const std::string& split = subject.splits[number];
  const train::RunConfig& config = subject.trained.config;
  Predicted predicted{std::make_unique<data::Dataset>(open(subject, split, ranks)), {}, {}};
  const data::Dataset& dataset = *predicted.dataset;
  predicted.columns = std::make_unique<data::ColumnReader>(
      subject.files ? data::ColumnReader(dataset) : columns_of(subject.trained, split, ranks));
  const Computation what{subject.trained, dataset, group_key(config, dataset.description())};
  eval::FeatureContents contents;
  comm::together(ranks, [&] {
    contents.classes = subject.trained.signature.classes;
    contents.passes = eval::count_passes(what.dataset, what.group_by, config.eval);
    contents.identity = identity_of(subject, what);
  });
  predicted.logits = std::make_unique<eval::FeatureWriter>(fmt::format("{}.{}.logits", out, number), dataset,
                                                           *predicted.columns, contents, ranks);
  const double rate = compute_into(*predicted.logits, what, ranks);
  log_info(fmt::format("{}{} images, {:.0f} images/s over all ranks",
                       subject.files && !subject.files->has_splits() ? "" : split + ": ",
                       format_count(dataset.rows()), rate));
  return predicted;
}

/// `table`, whose last column is the probabilities, with the class that has most of it.
eval::Table with_answers(eval::Table table, const std::vector<std::string>& classes) {
  const at::Tensor answer =
      std::get<eval::Table::Values>(table.columns.back().content).values.argmax(1).to(at::kInt);
  table.columns.insert(table.columns.end() - 1,
                       eval::Table::Column{"prediction", eval::Table::Names{answer, classes}});
  return table;
}

/// Columns of the images, their probabilities, or means of them, and the class that has most. `predicted` and
/// `subject` have to outlive it.
eval::TableBlocks table_of(const Predicted& predicted, const Subject& subject, const TableOptions& options) {
  const std::vector<std::string>& classes = subject.trained.signature.classes;
  const std::string probability = "probability";
  std::vector<std::string> names;
  for (const std::string& name : classes) names.push_back(probability + "_" + name);
  const auto reader = std::make_shared<eval::FeatureReader>(predicted.logits->partial());
  const auto images = std::make_shared<ImageRows>(*predicted.dataset, *predicted.columns,
                                                  !subject.files || subject.files->has_splits());
  const auto with_probability = [=](std::int64_t first, std::int64_t count) {
    eval::Table table = images->table(first, count);
    const at::Tensor values = reader->read("logits", first, count).softmax(1).contiguous();
    table.columns.push_back({probability, eval::Table::Values{values, names}});
    return table;
  };
  const std::int64_t rows = predicted.dataset->rows();
  if (!options.mean_by.empty())
    return eval::blocks_of(with_answers(mean_by({rows, with_probability}, options.mean_by), classes));
  return {rows, [=, &classes](std::int64_t first, std::int64_t count) {
            return with_answers(with_probability(first, count), classes);
          }};
}

/// Draws tiles of slides where they lie. One rank.
void draw_heat_maps(const std::vector<Predicted>& splits, const Subject& subject, const std::string& folder) {
  HeatMaps maps(folder, probability_maps(subject.trained.signature.classes));
  for (const Predicted& split : splits) {
    const eval::FeatureReader reader(split.logits->partial());
    for (std::int64_t first = 0; first < split.dataset->rows(); first += kTilesTogether) {
      const std::int64_t count = std::min(kTilesTogether, split.dataset->rows() - first);
      const std::vector<std::string> ids = split.columns->ids(first, count);
      const at::Tensor values = reader.read("logits", first, count).softmax(1).contiguous();
      const auto classes = static_cast<std::size_t>(values.size(1));
      for (std::size_t i = 0; i < ids.size(); ++i)
        maps.add(ids[i], {values.const_data_ptr<float>() + i * classes, classes});
    }
  }
  maps.finish();
  log_info(fmt::format("heat maps of {} slides in {}", format_count(maps.slides()), folder));
}

ExitCode predict_images(PredictOptions options, comm::Communicator& ranks) {
  take_overrides(options, ranks);
  prepare_table(options.table, ranks);
  if (options.images.on_error == "skip")
    refuse_existing({options.images.skipped}, options.table.overwrites, ranks);
  refuse_existing({options.heat_maps}, options.table.overwrites, ranks);
  const auto owners = train::own_runs_of({options.table.out, options.heat_maps}, "cohort predict", ranks);
  const Subject subject = find_subject(options, ranks);
  std::vector<Predicted> splits;
  for (std::size_t i = 0; i < subject.splits.size(); ++i)
    splits.push_back(predict_split(subject, i, options.table.out, ranks));
  wait_for_table();
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    std::vector<eval::TableBlocks> tables;
    for (const Predicted& split : splits) tables.push_back(table_of(split, subject, options.table));
    const std::string& dataset = splits.front().dataset->description().name;
    write_table(options.table.out, attributes_of(options.model, subject.trained, dataset), tables,
                options.table.quotes_formulas);
    if (!options.heat_maps.empty()) draw_heat_maps(splits, subject, options.heat_maps);
    fmt::print("{}\n", options.table.out);
  });
  for (const Predicted& split : splits) split.logits->discard();
  return ExitCode::done;
}

}  // namespace

void add_predict(CLI::App& app, Job& job) {
  const auto options = std::make_shared<PredictOptions>();
  CLI::App* command = &add_command(app, {"predict",
                                         "Write what a model says of images, labelled or not, as a table",
                                         {"cohort predict --run runs/x photos --out predictions.csv",
                                          "mpirun -n 4 cohort predict --run runs/x data/slides --split test "
                                          "--mean-by slide --out slides.parquet"},
                                         command_line::endings_on_ranks()});
  add_weight_options(*command, options->model);
  command->add_option(
      "IMAGES", options->images.paths,
      "a dataset, a folder of images, or image files and lists of them (.txt, a path a line); "
      "without it the dataset of the configuration; and KEY=VALUE, which replaces an option of "
      "the configuration: eval.context_images=64");
  command->add_option("--split", options->splits, "split to predict; may be repeated; without it all")
      ->allow_extra_args(false);
  options->images.add_to(*command);
  options->table.add_to(*command);
  command->add_option(
      "--heat-maps", options->heat_maps,
      "folder for a map of each slide, of tiles that cohort-data convert slides made: SLIDE.png, and "
      "SLIDE.geojson for QuPath");
  command->callback([options, &job] {
    job.program = "cohort predict";
    job.with_ranks = [options](comm::Communicator& ranks) { return predict_images(*options, ranks); };
  });
}

}  // namespace cohort::jobs
