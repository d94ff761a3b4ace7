#include "files.h"

#include <algorithm>
#include <string>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/file.h"
#include "cohort/eval/picture.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

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

constexpr std::int64_t kMostClasses = 8;  // whose maps stand beside each other

/// Names of the columns of every strip of maps, the image itself first.
std::vector<std::string> names_of_maps(const Material& material, eval::ExplainedClasses classes,
                                       const eval::Explanation& explanation) {
  std::vector<std::string> columns{"image"};
  if (explanation.rollout.defined()) {
    columns.insert(columns.end(), {"rollout", "attention"});
    for (std::int64_t head = 0; head < explanation.heads.size(1); ++head)
      columns.push_back(fmt::format("head {}", head + 1));
  }
  if (!explanation.saliency.defined()) return columns;
  if (classes == eval::ExplainedClasses::top1) columns.emplace_back("saliency of the answer");
  if (classes == eval::ExplainedClasses::label) columns.emplace_back("saliency of the label");
  if (classes != eval::ExplainedClasses::all) return columns;
  for (std::int64_t i = 0; i < std::min(kMostClasses, std::ssize(material.classes)); ++i)
    columns.push_back("saliency of " + material.classes[static_cast<std::size_t>(i)]);
  return columns;
}

/// Classes whose maps are drawn of an image.
struct DrawnClasses {
  std::int64_t answer = 0;
  std::int64_t first = 0;              ///< on the contact sheet
  std::vector<std::int64_t> of_strip;  ///< beside each other
};

/// Of image `i`, which has logits. One without a label shows its answer.
DrawnClasses drawn_classes(Material& material, eval::ExplainedClasses classes,
                           const eval::Explanation& explanation, std::int64_t i) {
  const std::int64_t answer = explanation.logits[i].argmax().item<std::int64_t>(),
                     count = std::ssize(material.classes);
  DrawnClasses drawn{answer, answer, {}};
  if (classes == eval::ExplainedClasses::label) {
    const std::int64_t label = labels_as_answers(material)(material.rows[static_cast<std::size_t>(i)]);
    if (label >= 0 && label < count) drawn.first = label;
  }
  if (classes != eval::ExplainedClasses::all) drawn.of_strip = {drawn.first};
  for (std::int64_t c = 0; classes == eval::ExplainedClasses::all && c < std::min(kMostClasses, count); ++c)
    drawn.of_strip.push_back(c);
  return drawn;
}

/// The maps of image `i` in the order of names_of_maps(); those of several channels added up.
std::vector<at::Tensor> maps_of(const eval::Explanation& explanation, std::int64_t i,
                                const std::vector<std::int64_t>& classes) {
  std::vector<at::Tensor> maps;
  if (explanation.rollout.defined()) {
    const at::Tensor heads = explanation.heads[i].sum(1);
    maps = {explanation.rollout[i].sum(0), heads.mean(0)};
    for (std::int64_t head = 0; head < heads.size(0); ++head) maps.push_back(heads[head]);
  }
  for (const std::int64_t number : classes) maps.push_back(explanation.saliency[i][number].sum(0));
  return maps;
}

/// Where there is a token for each channel: what is attended to, and what counts for class `number`, in each
/// of them.
void add_channels(const data::Description& description, const eval::Explanation& explanation, std::int64_t i,
                  std::int64_t number, const at::Tensor& image, const fs::path& folder, Json& json) {
  if (!explanation.heads.defined() || explanation.heads.size(2) == 1) return;
  const std::string attention = fmt::format("channels_{:02}.png", i + 1),
                    saliency = fmt::format("channel_saliency_{:02}.png", i + 1);
  write_file_atomically(folder / attention,
                        eval::channel_strip(image, explanation.heads[i].mean(0), description));
  json["channels"] = {{"names", description.channels}, {"attention", attention}};
  if (!explanation.saliency.defined()) return;
  write_file_atomically(folder / saliency,
                        eval::channel_strip(image, explanation.saliency[i][number], description));
  json["channels"]["saliency"] = saliency;
}

/// What is answered, and which class the contact sheet shows.
void add_answer(const Material& material, const at::Tensor& logits, const at::Tensor& map,
                const DrawnClasses& drawn, Json& json) {
  const at::Tensor probability = logits.softmax(0);
  const auto name = [&](std::int64_t number) { return material.classes[static_cast<std::size_t>(number)]; };
  json["answer"] = name(drawn.answer);
  json["probability"] = nine_digits(probability[drawn.answer].item<double>());
  if (drawn.first != drawn.answer)
    json["map_of"] = {{"class", name(drawn.first)},
                      {"probability", nine_digits(probability[drawn.first].item<double>())}};
  if (map.eq(0).all().item<bool>()) json["map_is_constant"] = true;
}

/// Writes the pictures of image `i`; returns what explain.json says of it.
Json explain_image(Material& material, eval::ExplainedClasses classes, const eval::Explanation& explanation,
                   std::int64_t i, const fs::path& folder) {
  const std::int64_t row = material.rows[static_cast<std::size_t>(i)];
  const data::Description& description = material.test.dataset.description();
  const std::string file = fmt::format("maps_{:02}.png", i + 1),
                    sheet = fmt::format("sheet_{:02}.png", i + 1);
  const at::Tensor image = image_of(material.test.dataset, row);
  const bool has_head = explanation.logits.defined();
  const DrawnClasses drawn = has_head ? drawn_classes(material, classes, explanation, i) : DrawnClasses{};
  write_file_atomically(folder / file,
                        eval::map_strip(image, maps_of(explanation, i, drawn.of_strip), description));
  Json json = image_json(material.test, material.label, row);
  json["maps"] = file;
  add_channels(description, explanation, i, drawn.first, image, folder, json);
  if (!has_head) return json;
  const at::Tensor map = explanation.saliency[i][drawn.first].sum(0);
  add_answer(material, explanation.logits[i], map, drawn, json);
  write_file_atomically(folder / sheet, eval::explained_strip(image, map, description));
  json["sheet"] = sheet;
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

void save_maps(const fs::path& file, const Material& material, const eval::Explanation& explanation) {
  checkpoint::Safetensors content;
  content.tensors = {{"rows", at::tensor(material.rows, at::kLong)}};
  if (explanation.rollout.defined()) {
    content.tensors.emplace_back("rollout", explanation.rollout);
    content.tensors.emplace_back("heads", explanation.heads);
  }
  if (explanation.saliency.defined()) {
    content.tensors.emplace_back("saliency", explanation.saliency);
    content.tensors.emplace_back("logits", explanation.logits);
  }
  checkpoint::write_safetensors(file, content);
}

}  // namespace

void write_explanation(const TrainedModel& trained, Material& material, eval::ExplainedClasses classes,
                       const eval::Explanation& explanation, const SplitFindings& found, const Json& scores,
                       const fs::path& folder) {
  refuse_no_folder(folder);
  make_writable_folder(folder);
  Json json{{"split", material.test.dataset.split()},
            {"step", trained.step},
            {"columns", names_of_maps(material, classes, explanation)},
            {"images", Json::array()}};
  for (std::int64_t i = 0; i < std::ssize(material.rows); ++i) {
    Json image = explain_image(material, classes, explanation, i, folder);
    if (found.train.similar) add_neighbours(material, *found.train.similar, i, folder, image);
    json["images"].push_back(std::move(image));
  }
  if (!found.train.tokens.empty())
    json["context_tokens"] =
        context_tokens_json(material, found.train, found.test, trained.config.context.keys);
  if (!scores.is_null()) json["scores"] = scores;
  save_maps(folder / "maps.safetensors", material, explanation);
  write_file_atomically(folder / "explain.json", json.dump(1) + "\n");
}

}  // namespace cohort::jobs
