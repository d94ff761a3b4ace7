#include "material.h"

#include <algorithm>
#include <map>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/eval/confident_errors.h"
#include "cohort/eval/evaluation.h"
#include "cohort/train/columns.h"

#include "jobs/features.h"
#include "slides.h"

namespace cohort::jobs {
namespace {

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
  const std::int64_t all = images.dataset.rows();
  return eval::SpreadRows{all, std::min(options.images, all)}.all();
}

std::string label_of(const train::RunConfig& config, const data::Description& description) {
  const bool is_clear = !config.data.label.empty() || description.labels.size() == 1;
  return is_clear ? train::scored_column(config, description) : "";
}

/// Collective.
Images open_images(const TrainedModel& trained, const std::string& split, comm::Communicator& ranks) {
  return {open_split(trained, split, {}, ranks), columns_of(trained, split, ranks)};
}

void check_can_err(const Material& material) {
  if (material.classes.empty())
    throw UsageError({"the model has no head, and errors are of answers", "--errors",
                      "explain images with --images or --id"});
  if (material.label.empty())
    throw UsageError({"the dataset has no label that answers could differ from", "--errors",
                      "name one (data.label=…), or explain images with --images or --id"});
}

/// What --classes asks for.
void check_classes(const Material& material, eval::ExplainedClasses classes) {
  if (classes == eval::ExplainedClasses::top1) return;
  if (material.classes.empty())
    throw UsageError({"the model has no head, and classes are of answers", "--classes", "leave it out"});
  if (classes == eval::ExplainedClasses::label && material.label.empty())
    throw UsageError({"the dataset has no label to explain", "--classes",
                      "name one (data.label=…), or explain --classes all"});
}

/// Collective. Of the answers of which the model is most sure, and wrong.
std::vector<std::int64_t> rows_of_errors(const ExplainOptions& options, const TrainedModel& trained,
                                         Material& material, comm::Communicator& ranks) {
  comm::together(ranks, [&] { check_can_err(material); });
  eval::ConfidentErrors errors(options.errors);
  NotFinite bad;
  const LabelOfRow label_of = labels_as_answers(material);
  const auto take = [&](const eval::PassAnswers& answers) {
    if (!bad.look(answers.rows, answers.logits)) return;
    std::vector<std::int64_t> labels;
    for (std::int64_t i = 0; i < answers.rows.numel(); ++i)
      labels.push_back(label_of(answers.rows.const_data_ptr<std::int64_t>()[i]));
    errors.add(answers.rows, answers.logits, labels);
  };
  const data::Dataset& dataset = material.test.dataset;
  (void)Computation{trained, dataset, explained_group_key(trained, material)}.run({take}, ranks);
  if (bad.add_up(ranks)) comm::together(ranks, [&] { bad.refuse(dataset); });
  std::vector<std::int64_t> rows = errors.finish(ranks);
  if (!rows.empty()) return rows;
  throw UsageError({fmt::format("the model errs in no image of split '{}'", dataset.split()), "--errors",
                    "explain images with --images or --id, or another split"});
}

}  // namespace

Material open_material(const ExplainOptions& options, const TrainedModel& trained,
                       comm::Communicator& ranks) {
  const train::RunConfig& config = trained.config;
  const data::Description description = data::Description::read(config.data.path, ranks);
  std::string split, label;
  comm::together(ranks, [&] {
    split = split_to_show(options.split, config, description);
    label = label_of(config, description);
  });
  Material material{open_images(trained, split, ranks), {}, label, trained.signature.classes, {}};
  if (options.neighbours > 0 || !config.context.keys.empty())
    material.train = open_images(trained, config.data.train_split, ranks);
  comm::together(ranks, [&] { check_classes(material, options.scored.classes); });
  if (!options.heat_maps.empty()) check_tiles(material, ranks);
  if (options.errors > 0) {
    material.rows = rows_of_errors(options, trained, material, ranks);
    return material;
  }
  comm::together(ranks, [&] { material.rows = chosen_rows(options, material.test); });
  return material;
}

LabelOfRow labels_as_answers(Material& material) {
  std::vector<std::int64_t> places =
      places_of(material.test.dataset.description().label(material.label).classes, material.classes);
  for (std::int64_t& place : places)
    if (place < 0) place = std::ssize(material.classes);
  return [&material, places = std::move(places)](std::int64_t row) -> std::int64_t {
    const std::int32_t label = material.test.reader.labels(material.label, row, 1).front();
    return label < 0 ? -1 : places[static_cast<std::size_t>(label)];
  };
}

std::string explained_group_key(const TrainedModel& trained, const Material& material) {
  const train::RunConfig& config = trained.config;
  return eval::evaluation_group_key(train::training_group_key(config), config.context.keys,
                                    material.test.dataset.description());
}

}  // namespace cohort::jobs
