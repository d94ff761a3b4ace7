#include "cohort/eval/explain.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/picture.h"
#include "cohort/train/columns.h"
#include "cohort/train/model.h"
#include "cohort/train/run_owner.h"

#include "commands.h"
#include "new_file.h"
#include "support/json.h"
#include "trained_model.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

struct ExplainOptions {
  ModelSource model;
  std::string split, out;
  std::vector<std::string> ids;
  std::int64_t images = 8, neighbours = 5;
  bool overwrites = false;
};

/// What all of it is made from.
struct Material {
  data::Dataset test;
  std::optional<data::Dataset> train;  ///< where neighbours or contexts are shown
  std::string label;                   ///< column; empty: none
  std::vector<std::string> classes;    ///< that the model answers; empty: it has no head
  eval::Prediction of_train, of_test;  ///< empty where neither neighbours nor contexts are shown
  std::vector<std::int64_t> rows;      ///< of `test`, to explain
};

/// Rows of the ids asked for, or rows evenly spread over the split.
std::vector<std::int64_t> chosen_rows(const ExplainOptions& options, const data::Dataset& dataset) {
  std::vector<std::int64_t> rows;
  if (options.ids.empty()) {
    const std::int64_t count = std::min(options.images, dataset.rows());
    for (std::int64_t i = 0; i < count; ++i) rows.push_back((2 * i + 1) * dataset.rows() / (2 * count));
    return rows;
  }
  const std::vector<std::string>& ids = dataset.ids();
  for (const std::string& id : options.ids) {
    const auto found = std::find(ids.begin(), ids.end(), id);
    if (found == ids.end()) {
      throw UsageError({fmt::format("split '{}' has no image '{}'", dataset.split(), id), "--id",
                        "cohort extract lists the ids of a split"});
    }
    rows.push_back(found - ids.begin());
  }
  return rows;
}

/// The split asked for, else the first one besides the training split.
std::string split_of(const ExplainOptions& options, const train::RunConfig& config,
                     const data::Description& description) {
  if (!options.split.empty()) return options.split;
  for (const data::Split& split : description.splits) {
    if (split.name != config.data.train_split && split.rows() > 0) return split.name;
  }
  return config.data.train_split;
}

std::string label_of(const train::RunConfig& config, const data::Description& description) {
  const bool is_clear = !config.data.label.empty() || description.labels.size() == 1;
  return is_clear ? train::scored_column(config, description) : "";
}

/// "defective", of the label column, or "" where a row has none.
std::string label_text(const data::Dataset& dataset, const std::string& column, std::int64_t row) {
  if (column.empty()) return "";
  const std::int32_t value = dataset.labels(column)[static_cast<std::size_t>(row)];
  return value < 0 ? "" : dataset.description().label(column).classes[static_cast<std::size_t>(value)];
}

Json contexts_json(const data::Dataset& dataset, std::int64_t row) {
  Json json = Json::object();
  for (const data::ContextColumn& column : dataset.description().contexts)
    json[column.name] =
        column.values[static_cast<std::size_t>(dataset.contexts(column.name)[static_cast<std::size_t>(row)])];
  return json;
}

Json image_json(const data::Dataset& dataset, const std::string& label, std::int64_t row) {
  return {{"id", dataset.ids()[static_cast<std::size_t>(row)]},
          {"contexts", contexts_json(dataset, row)},
          {"label", label_text(dataset, label, row)}};
}

at::Tensor image_of(const data::Dataset& dataset, std::int64_t row) {
  return dataset.images(std::span(&row, 1))[0];
}

/// Names of the columns of every strip of maps, the image itself first.
std::vector<std::string> columns_of(const eval::Explanation& explanation) {
  std::vector<std::string> columns{"image", "rollout", "attention"};
  for (std::int64_t head = 0; head < explanation.heads.size(1); ++head)
    columns.push_back(fmt::format("head {}", head + 1));
  if (explanation.saliency.defined()) columns.emplace_back("saliency of the answer");
  return columns;
}

/// The maps of image `i` in the order of columns_of(); those of several channels added up.
std::vector<at::Tensor> maps_of(const eval::Explanation& explanation, std::int64_t i) {
  const at::Tensor heads = explanation.heads[i].sum(1);
  std::vector<at::Tensor> maps{explanation.rollout[i].sum(0), heads.mean(0)};
  for (std::int64_t head = 0; head < heads.size(0); ++head) maps.push_back(heads[head]);
  if (explanation.saliency.defined()) {
    const std::int64_t answer = explanation.logits[i].argmax().item<std::int64_t>();
    maps.push_back(explanation.saliency[i][answer].sum(0));
  }
  return maps;
}

/// Writes the strip of maps of image `i`; returns what explain.json says of the image.
Json explain_image(const Material& material, const eval::Explanation& explanation, std::int64_t i,
                   const fs::path& folder) {
  const std::int64_t row = material.rows[static_cast<std::size_t>(i)];
  const std::string file = fmt::format("maps_{:02}.png", i + 1);
  const at::Tensor image = image_of(material.test, row);
  write_file_atomically(folder / file,
                        eval::map_strip(image, maps_of(explanation, i), material.test.description()));
  Json json = image_json(material.test, material.label, row);
  json["maps"] = file;
  if (!explanation.logits.defined()) return json;
  const at::Tensor probability = explanation.logits[i].softmax(0);
  const std::int64_t answer = probability.argmax().item<std::int64_t>();
  json["answer"] = material.classes[static_cast<std::size_t>(answer)];
  json["probability"] = nine_digits(probability[answer].item<double>());
  return json;
}

/// Adds the training images that are most similar, and a strip of them.
void add_neighbours(const Material& material, const eval::Similar& similar, std::int64_t i,
                    const fs::path& folder, Json& json) {
  std::vector<at::Tensor> images{image_of(material.test, material.rows[static_cast<std::size_t>(i)])};
  json["nearest"] = Json::array();
  for (std::int64_t k = 0; k < similar.row.size(1); ++k) {
    const std::int64_t row = similar.row[i][k].item<std::int64_t>();
    images.push_back(image_of(*material.train, row));
    Json neighbour = image_json(*material.train, material.label, row);
    neighbour["similarity"] = nine_digits(similar.similarity[i][k].item<double>());
    json["nearest"].push_back(std::move(neighbour));
  }
  const std::string file = fmt::format("nearest_{:02}.png", i + 1);
  write_file_atomically(folder / file, eval::picture_strip(images, material.test.description()));
  json["nearest_pictures"] = file;
}

/// The mean token of every context of a split.
struct ContextMeans {
  std::vector<at::Tensor> tokens;
  std::vector<Json> about;
};

void add_means(const data::Dataset& dataset, const at::Tensor& tokens, const std::string& key,
               ContextMeans& means) {
  std::map<std::int32_t, std::vector<std::int64_t>> rows;
  const std::vector<std::int32_t>& contexts = dataset.contexts(key);
  for (std::size_t row = 0; row < contexts.size(); ++row)
    rows[contexts[row]].push_back(static_cast<std::int64_t>(row));
  for (const auto& [context, of_context] : rows) {
    means.tokens.push_back(tokens.index_select(0, at::tensor(of_context, at::kLong)).to(at::kDouble).mean(0));
    means.about.push_back(
        {{"split", dataset.split()},
         {"context", dataset.description().context(key).values[static_cast<std::size_t>(context)]},
         {"images", std::ssize(of_context)}});
  }
}

/// Principal components of the mean context tokens of both splits, for each context key of the model.
Json context_tokens_json(const Material& material, const std::vector<std::string>& keys) {
  Json all = Json::array();
  for (std::size_t k = 0; k < keys.size(); ++k) {
    ContextMeans means;
    const auto key = static_cast<std::int64_t>(k);
    add_means(*material.train, material.of_train.context.select(1, key), keys[k], means);
    if (material.test.split() != material.train->split())
      add_means(material.test, material.of_test.context.select(1, key), keys[k], means);
    const eval::Projection projection = eval::principal_components(at::stack(means.tokens));
    Json points = Json::array();
    for (std::size_t i = 0; i < means.about.size(); ++i) {
      Json point = means.about[i];
      const at::Tensor place = projection.points[static_cast<std::int64_t>(i)];
      point["x"] = nine_digits(place[0].item<double>());
      point["y"] = nine_digits(place[1].item<double>());
      points.push_back(std::move(point));
    }
    all.push_back({{"key", keys[k]},
                   {"shares", {nine_digits(projection.shares[0]), nine_digits(projection.shares[1])}},
                   {"points", std::move(points)}});
  }
  return all;
}

void save_maps(const fs::path& file, const Material& material, const eval::Explanation& explanation) {
  checkpoint::Safetensors content;
  content.tensors = {{"rows", at::tensor(material.rows, at::kLong)},
                     {"rollout", explanation.rollout},
                     {"heads", explanation.heads}};
  if (explanation.saliency.defined()) {
    content.tensors.emplace_back("saliency", explanation.saliency);
    content.tensors.emplace_back("logits", explanation.logits);
  }
  checkpoint::write_safetensors(file, content);
}

void write_explanation(const ExplainOptions& options, const TrainedModel& trained, const Material& material,
                       const eval::Explanation& explanation, const fs::path& folder) {
  refuse_no_folder(folder);
  make_writable_folder(folder);
  const bool is_train = material.train && material.train->split() == material.test.split();
  const std::int64_t count = std::ssize(material.rows),
                     others = material.train ? material.train->rows() - std::int64_t{is_train} : 0,
                     neighbours = std::min(options.neighbours, others);
  Json json{{"split", material.test.split()},
            {"step", trained.step},
            {"columns", columns_of(explanation)},
            {"images", Json::array()}};
  std::optional<eval::Similar> similar;
  if (neighbours > 0) {
    const at::Tensor rows = at::tensor(material.rows, at::kLong);
    similar = eval::most_similar(material.of_train.features, material.of_test.features.index_select(0, rows),
                                 neighbours, is_train ? rows : at::Tensor());
  }
  for (std::int64_t i = 0; i < count; ++i) {
    Json image = explain_image(material, explanation, i, folder);
    if (similar) add_neighbours(material, *similar, i, folder, image);
    json["images"].push_back(std::move(image));
  }
  if (material.of_train.context.defined())
    json["context_tokens"] = context_tokens_json(material, trained.config.context.keys);
  save_maps(folder / "maps.safetensors", material, explanation);
  write_file_atomically(folder / "explain.json", json.dump(1) + "\n");
}

/// Collective.
Material open_material(const ExplainOptions& options, const TrainedModel& trained,
                       comm::Communicator& ranks) {
  const train::RunConfig& config = trained.config;
  const data::Description description = data::Description::read(config.data.path, ranks);
  std::string split, label;
  comm::together(ranks, [&] {
    split = split_of(options, config, description);
    label = label_of(config, description);
  });
  const std::vector<std::string> labels = label.empty() ? std::vector<std::string>() : std::vector{label};
  Material material{
      open_split(trained, split, labels, ranks), {}, label, trained.signature.classes, {}, {}, {}};
  if (options.neighbours > 0 || !config.context.keys.empty())
    material.train = open_split(trained, config.data.train_split, labels, ranks);
  comm::together(ranks, [&] { material.rows = chosen_rows(options, material.test); });
  return material;
}

ExitCode explain_images(const ExplainOptions& options, comm::Communicator& ranks) {
  const fs::path folder =
      options.out.empty() ? fs::path(options.model.run) / "explain" : fs::path(options.out);
  // That in a run's folder is of the run, and made anew.
  if (!options.out.empty()) refuse_existing({folder / "explain.json"}, options.overwrites, ranks);
  const auto owners = train::own_runs_of({folder / "explain.json"}, "cohort explain", ranks);
  const TrainedModel trained = load_trained_model(options.model, Head::where_there_is, ranks);
  const train::RunConfig& config = trained.config;
  comm::together(ranks, [&] { (void)eval::explainable(*trained.model); });
  Material material = open_material(options, trained, ranks);
  const std::string key = eval::evaluation_group_key(train::training_group_key(config), config.context.keys,
                                                     material.test.description());
  const auto predict = [&](const data::Dataset& dataset) {
    return eval::predict(*trained.model, dataset, key, config.eval, config.data.normalisation,
                         config.precision == train::Precision::bf16, ranks);
  };
  if (material.train) {
    material.of_train = predict(*material.train);
    material.of_test = predict(material.test);
  }
  const eval::Explanation explanation =
      eval::explain(eval::explainable(*trained.model), material.test, material.rows, key, config.eval,
                    config.data.normalisation, ranks);
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) write_explanation(options, trained, material, explanation, folder);
  });
  log_info(fmt::format("{} images of split {} explained in {}; cohort report shows them",
                       format_count(std::ssize(material.rows)), material.test.split(), folder.string()));
  return ExitCode::done;
}

}  // namespace

void add_explain(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ExplainOptions>();
  CLI::App* command = &add_command(
      app, {"explain",
            "Show what a model looks at: attention, saliency, nearest images, tokens of contexts",
            {"cohort explain --run runs/x --split test --images 16"},
            command_line::endings_on_ranks()});
  add_model_options(*command, options->model);
  command->add_option(
      "--split", options->split,
      "split whose images are explained; without it the first one besides the training split");
  command->add_option("--images", options->images, "how many of them, evenly spread over the split")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_option("--id", options->ids, "explain the image with this id; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--neighbours", options->neighbours, "most similar training images to show; 0: none")
      ->check(CLI::Range(0, 32))
      ->capture_default_str();
  command->add_option("--out", options->out,
                      "folder to write: PNG, maps.safetensors, explain.json; without it <run>/explain");
  add_overwrite(*command, options->overwrites);
  command->callback([options, &job] {
    if (options->model.run.empty() && options->out.empty())
      throw CLI::ValidationError("--out", "is needed without --run");
    job.program = "cohort explain";
    job.with_ranks = [options](comm::Communicator& ranks) { return explain_images(*options, ranks); };
  });
}

}  // namespace cohort::jobs
