// cohort embed: features of images as places on a plane.
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/data/context_runs.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/explain.h"
#include "cohort/eval/explanation_scores.h"
#include "cohort/eval/picture.h"
#include "cohort/eval/t_sne.h"
#include "cohort/train/columns.h"
#include "cohort/train/model.h"
#include "cohort/train/run_owner.h"

#include "commands.h"
#include "features.h"
#include "new_file.h"
#include "support/json.h"
#include "trained_model.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

struct EmbedOptions {
  ModelSource model;
  std::string split, out;
  std::int64_t images = 1000;
  eval::TsneConfig t_sne;
  bool overwrites = false;
};

/// Collective. [rows, D] of these rows of the split.
at::Tensor features_of(const Computation& what, const std::vector<std::int64_t>& rows,
                       comm::Communicator& ranks) {
  ChosenFeatures features(rows, what.trained.model->traits().width, ranks);
  (void)what.run({[&](const eval::PassAnswers& answers) { features.take(answers); }}, ranks);
  return features.all();
}

Json points_json(const at::Tensor& places) {
  const auto values = places.accessor<double, 2>();
  Json points = Json::array();
  for (std::int64_t i = 0; i < places.size(0); ++i)
    points.push_back({nine_digits(values[i][0]), nine_digits(values[i][1])});
  return points;
}

/// Of the values that occur: {"name", "values", "of_points"}.
Json column_json(const std::string& name, const std::vector<std::string>& known,
                 const std::vector<std::int32_t>& of_points) {
  std::map<std::int32_t, std::size_t> places;
  Json values = Json::array(), indices = Json::array();
  for (const std::int32_t value : of_points) {
    if (value < 0) {
      indices.push_back(-1);
      continue;
    }
    const auto [place, is_new] = places.emplace(value, places.size());
    if (is_new) values.push_back(known[static_cast<std::size_t>(value)]);
    indices.push_back(place->second);
  }
  return {{"name", name}, {"values", std::move(values)}, {"of_points", std::move(indices)}};
}

/// Labels and contexts of the rows.
Json columns_json(const data::Dataset& dataset, data::ColumnReader& reader,
                  const std::vector<std::int64_t>& rows) {
  Json columns = Json::array();
  const auto add = [&](const std::string& name, const auto& value) {
    std::vector<std::int32_t> found;
    for (const std::int64_t row : rows) found.push_back(value(row));
    columns.push_back(column_json(name, dataset.description().values(name), found));
  };
  for (const data::LabelColumn& column : dataset.description().labels)
    add(column.name, [&](std::int64_t row) { return reader.labels(column.name, row, 1).front(); });
  for (const data::ContextColumn& column : dataset.description().contexts)
    add(column.name, [&](std::int64_t row) { return dataset.context_runs(column.name).at(row); });
  return columns;
}

/// Pictures where their images lie, the first one where several do.
std::string thumbnails(const data::Dataset& dataset, const std::vector<std::int64_t>& rows,
                       const at::Tensor& places) {
  std::vector<at::Tensor> images;
  for (const std::int64_t row : rows) images.push_back(dataset.images(std::span(&row, 1))[0]);
  return eval::scattered_pictures(images, places, dataset.description());
}

void write_embedding(const TrainedModel& trained, const data::Dataset& dataset, data::ColumnReader& reader,
                     const std::vector<std::int64_t>& rows, const at::Tensor& features,
                     const EmbedOptions& options, const fs::path& folder) {
  fs::create_directories(folder);
  const eval::Projection pca = eval::principal_components(features);
  const at::Tensor places = eval::t_sne(features, pca.points, options.t_sne);
  Json json{{"split", dataset.split()},
            {"step", trained.step},
            {"pca", points_json(pca.points)},
            {"shares", {nine_digits(pca.shares[0]), nine_digits(pca.shares[1])}},
            {"t_sne", points_json(places)},
            {"perplexity", options.t_sne.perplexity},
            {"columns", columns_json(dataset, reader, rows)},
            {"thumbnails", "thumbnails.jpg"}};
  write_file_atomically(folder / "thumbnails.jpg", thumbnails(dataset, rows, places));
  write_file_atomically(folder / "embedding.json", json.dump() + "\n");
}

ExitCode embed_images(const EmbedOptions& options, comm::Communicator& ranks) {
  const fs::path folder =
      options.out.empty() ? fs::path(options.model.run) / "embedding" : fs::path(options.out);
  // That in a run's folder is of the run, and made anew.
  if (!options.out.empty()) refuse_existing({folder / "embedding.json"}, options.overwrites, ranks);
  const auto owners = train::own_runs_of({folder / "embedding.json"}, "cohort embed", ranks);
  const TrainedModel trained = load_trained_model(options.model, Head::none, ranks);
  const train::RunConfig& config = trained.config;
  const data::Description description = data::Description::read(config.data.path, ranks);
  std::string split;
  comm::together(ranks, [&] { split = split_to_show(options.split, config, description); });
  const data::Dataset dataset = open_split(trained, split, {}, ranks);
  data::ColumnReader reader = columns_of(trained, split, ranks);
  const std::vector<std::int64_t> rows =
      eval::SpreadRows{dataset.rows(), std::min(options.images, dataset.rows())}.all();
  comm::together(ranks, [&] {
    constexpr std::size_t kFewest = 8;
    if (rows.size() >= kFewest) return;
    throw DataError({fmt::format("split '{}' has {} images, too few to be laid out", split, rows.size()),
                     config.data.path.string(), "choose another --split"});
  });
  const std::string key = eval::evaluation_group_key(train::training_group_key(config), config.context.keys,
                                                     dataset.description());
  const at::Tensor features = features_of({trained, dataset, key}, rows, ranks);
  comm::together(ranks, [&] {
    if (!features.isfinite().all().item<bool>())
      throw NumericalError({"the model gives features that are not finite", "split " + split,
                            "go back to an earlier checkpoint (--step)"});
    if (ranks.rank() == 0) write_embedding(trained, dataset, reader, rows, features, options, folder);
  });
  log_info(fmt::format("{} images of split {} laid out in {}; cohort report shows them",
                       format_count(std::ssize(rows)), split, folder.string()));
  return ExitCode::done;
}

}  // namespace

void add_embed(CLI::App& app, Job& job) {
  const auto options = std::make_shared<EmbedOptions>();
  CLI::App* command = &add_command(
      app, {"embed",
            "Lay images out by their features: principal components and t-SNE, by class and context",
            {"cohort embed --run runs/x --split test"},
            command_line::endings_on_ranks()});
  add_model_options(*command, options->model);
  command->add_option("--split", options->split,
                      "split whose images are laid out; without it the first one besides the training split");
  command->add_option("--images", options->images, "how many of them, evenly spread over the split")
      ->check(CLI::Range(8, 5000))
      ->capture_default_str();
  command
      ->add_option("--perplexity", options->t_sne.perplexity, "of t-SNE: neighbours of an image, in effect")
      ->check(CLI::Range(2.0, 500.0))
      ->capture_default_str();
  command->add_option("--out", options->out,
                      "folder to write: embedding.json, thumbnails.jpg; without it <run>/embedding");
  add_overwrite(*command, options->overwrites);
  command->callback([options, &job] {
    if (options->model.run.empty() && options->out.empty())
      throw CLI::ValidationError("--out", "is needed without --run");
    job.program = "cohort embed";
    job.with_ranks = [options](comm::Communicator& ranks) { return embed_images(*options, ranks); };
  });
}

}  // namespace cohort::jobs
