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
#include "cohort/data/column_reader.h"
#include "cohort/data/context_runs.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/picture.h"
#include "cohort/eval/stored_rows.h"
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

struct ExplainOptions {
  ModelSource model;
  std::string split, out;
  std::vector<std::string> ids;
  std::int64_t images = 8, neighbours = 5;
  bool overwrites = false;
};

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

/// The rows of ids, in their order.
std::vector<std::int64_t> rows_of(const std::vector<std::string>& wanted, Images& images) {
  constexpr std::int64_t kRows = 65536;  // read at once
  std::map<std::string, std::int64_t> found;
  for (const std::string& id : wanted) found.emplace(id, -1);
  const std::int64_t rows = images.dataset.rows();
  for (std::int64_t first = 0; first < rows; first += kRows) {
    std::int64_t row = first;
    for (const std::string& id : images.reader.ids(first, std::min(kRows, rows - first))) {
      const auto place = found.find(id);
      if (place != found.end() && place->second < 0) place->second = row;
      ++row;
    }
  }
  std::vector<std::int64_t> all;
  for (const std::string& id : wanted) {
    all.push_back(found.at(id));
    if (all.back() < 0) {
      throw UsageError({fmt::format("split '{}' has no image '{}'", images.dataset.split(), id), "--id",
                        "cohort extract lists the ids of a split"});
    }
  }
  return all;
}

/// Rows of the ids asked for, or rows evenly spread over the split.
std::vector<std::int64_t> chosen_rows(const ExplainOptions& options, Images& images) {
  if (!options.ids.empty()) return rows_of(options.ids, images);
  std::vector<std::int64_t> rows;
  const std::int64_t all = images.dataset.rows(), count = std::min(options.images, all);
  for (std::int64_t i = 0; i < count; ++i) rows.push_back((2 * i + 1) * all / (2 * count));
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
std::string label_text(Images& images, const std::string& column, std::int64_t row) {
  if (column.empty()) return "";
  const std::int32_t value = images.reader.labels(column, row, 1).front();
  return value < 0 ? "" : images.dataset.description().label(column).classes[static_cast<std::size_t>(value)];
}

Json contexts_json(const data::Dataset& dataset, std::int64_t row) {
  Json json = Json::object();
  for (const data::ContextColumn& column : dataset.description().contexts)
    json[column.name] = column.values[static_cast<std::size_t>(dataset.context_runs(column.name).at(row))];
  return json;
}

Json image_json(Images& images, const std::string& label, std::int64_t row) {
  return {{"id", images.dataset.id(row)},
          {"contexts", contexts_json(images.dataset, row)},
          {"label", label_text(images, label, row)}};
}

at::Tensor image_of(const data::Dataset& dataset, std::int64_t row) {
  return dataset.images(std::span(&row, 1))[0];
}

/// Names of the columns of every strip of maps, the image itself first.
std::vector<std::string> names_of_maps(const eval::Explanation& explanation) {
  std::vector<std::string> columns{"image", "rollout", "attention"};
  for (std::int64_t head = 0; head < explanation.heads.size(1); ++head)
    columns.push_back(fmt::format("head {}", head + 1));
  if (explanation.saliency.defined()) columns.emplace_back("saliency of the answer");
  return columns;
}

/// The maps of image `i` in the order of names_of_maps(); those of several channels added up.
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
Json explain_image(Material& material, const eval::Explanation& explanation, std::int64_t i,
                   const fs::path& folder) {
  const std::int64_t row = material.rows[static_cast<std::size_t>(i)];
  const std::string file = fmt::format("maps_{:02}.png", i + 1);
  const at::Tensor image = image_of(material.test.dataset, row);
  write_file_atomically(folder / file,
                        eval::map_strip(image, maps_of(explanation, i), material.test.dataset.description()));
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
void add_neighbours(Material& material, const eval::Similar& similar, std::int64_t i, const fs::path& folder,
                    Json& json) {
  std::vector<at::Tensor> images{image_of(material.test.dataset, material.rows[static_cast<std::size_t>(i)])};
  json["nearest"] = Json::array();
  for (std::int64_t k = 0; k < similar.row.size(1); ++k) {
    const std::int64_t row = similar.row[i][k].item<std::int64_t>();
    images.push_back(image_of(material.train->dataset, row));
    Json neighbour = image_json(*material.train, material.label, row);
    neighbour["similarity"] = nine_digits(similar.similarity[i][k].item<double>());
    json["nearest"].push_back(std::move(neighbour));
  }
  const std::string file = fmt::format("nearest_{:02}.png", i + 1);
  write_file_atomically(folder / file, eval::picture_strip(images, material.test.dataset.description()));
  json["nearest_pictures"] = file;
}

/// What the model says of the images of a split, of which nothing is kept but this.
struct Findings {
  std::vector<eval::ContextTokens> tokens;  ///< of each context key of the model
  std::optional<eval::Similar> similar;     ///< images of the training split
};

/// The mean token of every context of a split.
struct ContextMeans {
  std::vector<at::Tensor> tokens;
  std::vector<Json> about;
};

void add_means(const data::Dataset& dataset, const eval::ContextTokens& tokens, const std::string& key,
               ContextMeans& means) {
  const std::vector<std::string>& names = dataset.description().context(key).values;
  for (std::int64_t context = 0; context < std::ssize(names); ++context) {
    if (tokens.images(context) == 0) continue;
    means.tokens.push_back(tokens.mean(context));
    means.about.push_back({{"split", dataset.split()},
                           {"context", names[static_cast<std::size_t>(context)]},
                           {"images", tokens.images(context)}});
  }
}

/// Principal components of the mean context tokens of both splits, for each context key of the model.
Json context_tokens_json(const Material& material, const Findings& of_train, const Findings& of_test,
                         const std::vector<std::string>& keys) {
  const data::Dataset &train = material.train->dataset, &test = material.test.dataset;
  Json all = Json::array();
  for (std::size_t k = 0; k < keys.size(); ++k) {
    ContextMeans means;
    add_means(train, of_train.tokens[k], keys[k], means);
    if (test.split() != train.split()) add_means(test, of_test.tokens[k], keys[k], means);
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

/// Collects what a pass over a split finds.
class Collector {
 public:
  /// Reads the contexts: throws DataError.
  Collector(const TrainedModel& trained, const data::Dataset& dataset)
      : dataset_(dataset), keys_(trained.config.context.keys) {
    for (const std::string& key : keys_) {
      contexts_.push_back(&dataset.context_runs(key));
      tokens_.emplace_back(std::ssize(dataset.description().context(key).values),
                           trained.model->traits().width);
    }
  }

  void take(const eval::PassAnswers& answers) {
    if (!bad_.look(answers.rows, answers.features)) return;
    if (!keys_.empty() && !bad_.look(answers.rows, answers.context)) return;
    for (std::size_t k = 0; k < keys_.size(); ++k)
      tokens_[k].add(contexts_of(k, answers.rows), answers.context.select(1, static_cast<std::int64_t>(k)));
  }
  /// Collective. Throws NumericalError.
  std::vector<eval::ContextTokens> finish(comm::Communicator& ranks) {
    if (bad_.add_up(ranks)) comm::together(ranks, [&] { bad_.refuse(dataset_); });
    for (eval::ContextTokens& tokens : tokens_) tokens.add_up(ranks);
    return std::move(tokens_);
  }

 private:
  [[nodiscard]] at::Tensor contexts_of(std::size_t key, const at::Tensor& rows) const {
    at::Tensor contexts = at::empty_like(rows);
    for (std::int64_t i = 0; i < rows.numel(); ++i)
      contexts.mutable_data_ptr<std::int64_t>()[i] =
          contexts_[key]->at(rows.const_data_ptr<std::int64_t>()[i]);
    return contexts;
  }

  const data::Dataset& dataset_;
  std::vector<std::string> keys_;
  std::vector<const data::ContextRuns*> contexts_;
  std::vector<eval::ContextTokens> tokens_;
  NotFinite bad_;
};

/// Features of chosen rows of a split, as passes meet them.
class ChosenFeatures {
 public:
  ChosenFeatures(const std::vector<std::int64_t>& rows, std::int64_t width, comm::Communicator& ranks)
      : features_(std::ssize(rows), width, ranks) {
    for (std::size_t i = 0; i < rows.size(); ++i) places_.emplace(rows[i], static_cast<std::int64_t>(i));
  }
  void take(const eval::PassAnswers& answers) {
    for (std::int64_t i = 0; i < answers.rows.numel(); ++i) {
      const auto [first, last] = places_.equal_range(answers.rows.const_data_ptr<std::int64_t>()[i]);
      for (auto place = first; place != last; ++place)
        features_.write(at::full({1}, place->second, at::kLong), answers.features.narrow(0, i, 1));
    }
  }
  /// Collective. [rows, D].
  [[nodiscard]] at::Tensor all() const { return features_.block(0, features_.rows()); }

 private:
  std::multimap<std::int64_t, std::int64_t> places_;  // of each row
  eval::StoredRows features_;
};

/// Collective. Tokens of the contexts of the split, whose chosen features go to `chosen`.
Findings look_at_test(const Computation& what, ChosenFeatures& chosen, comm::Communicator& ranks) {
  std::optional<Collector> collector;
  comm::together(ranks, [&] { collector.emplace(what.trained, what.dataset); });
  (void)what.run({[&](const eval::PassAnswers& answers) {
                   collector->take(answers);
                   chosen.take(answers);
                 }},
                 ranks);
  return {collector->finish(ranks), {}};
}

/// Collective. Tokens of contexts, and the images most similar to `queries`; `own`: their rows, if they are
/// of this split.
Findings look_at_train(const Computation& what, const at::Tensor& queries, std::int64_t neighbours,
                       const at::Tensor& own, comm::Communicator& ranks) {
  std::optional<Collector> collector;
  std::optional<eval::SimilarImages> similar;
  comm::together(ranks, [&] {
    collector.emplace(what.trained, what.dataset);
    if (neighbours > 0) similar.emplace(queries, neighbours, own);
  });
  (void)what.run({[&](const eval::PassAnswers& answers) {
                   collector->take(answers);
                   if (similar) similar->add(answers.rows, answers.features);
                 }},
                 ranks);
  Findings found{collector->finish(ranks), {}};
  if (similar) found.similar = similar->finish(ranks);
  return found;
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

void write_explanation(const TrainedModel& trained, Material& material, const eval::Explanation& explanation,
                       const Findings& of_train, const Findings& of_test, const fs::path& folder) {
  refuse_no_folder(folder);
  make_writable_folder(folder);
  Json json{{"split", material.test.dataset.split()},
            {"step", trained.step},
            {"columns", names_of_maps(explanation)},
            {"images", Json::array()}};
  for (std::int64_t i = 0; i < std::ssize(material.rows); ++i) {
    Json image = explain_image(material, explanation, i, folder);
    if (of_train.similar) add_neighbours(material, *of_train.similar, i, folder, image);
    json["images"].push_back(std::move(image));
  }
  if (!of_train.tokens.empty())
    json["context_tokens"] = context_tokens_json(material, of_train, of_test, trained.config.context.keys);
  save_maps(folder / "maps.safetensors", material, explanation);
  write_file_atomically(folder / "explain.json", json.dump(1) + "\n");
}

/// Collective.
Images open_images(const TrainedModel& trained, const std::string& split, comm::Communicator& ranks) {
  return {open_split(trained, split, {}, ranks), columns_of(trained, split, ranks)};
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
  Material material{open_images(trained, split, ranks), {}, label, trained.signature.classes, {}};
  if (options.neighbours > 0 || !config.context.keys.empty())
    material.train = open_images(trained, config.data.train_split, ranks);
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
  const data::Dataset& test = material.test.dataset;
  const std::string key =
      eval::evaluation_group_key(train::training_group_key(config), config.context.keys, test.description());
  Findings of_train, of_test;
  if (material.train) {
    const data::Dataset& train = material.train->dataset;
    const bool is_train = train.split() == test.split();
    ChosenFeatures chosen(material.rows, trained.model->traits().width, ranks);
    of_test = look_at_test({trained, test, key}, chosen, ranks);
    of_train = look_at_train({trained, train, key}, chosen.all(),
                             std::min(options.neighbours, train.rows() - std::int64_t{is_train}),
                             is_train ? at::tensor(material.rows, at::kLong) : at::Tensor(), ranks);
  }
  const eval::Explanation explanation = eval::explain(eval::explainable(*trained.model), test, material.rows,
                                                      key, config.eval, config.data.normalisation, ranks);
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) write_explanation(trained, material, explanation, of_train, of_test, folder);
  });
  log_info(fmt::format("{} images of split {} explained in {}; cohort report shows them",
                       format_count(std::ssize(material.rows)), test.split(), folder.string()));
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
