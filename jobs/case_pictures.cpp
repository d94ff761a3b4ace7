#include "case_pictures.h"

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "cohort/core/error.h"
#include "cohort/data/dataset.h"
#include "cohort/eval/picture.h"
#include "cohort/train/run_config.h"

namespace cohort::jobs {
namespace {

/// Nothing: there is no such dataset any more.
std::optional<data::Dataset> open_if_there(const report::EvaluatedImage& image) {
  try {
    const train::RunConfig config = train::load_run_config(image.run / "config.yaml");
    data::Dataset dataset = data::Dataset::open(config.data.path, image.split);
    dataset.choose_channels(config.data.channels);
    return dataset;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string picture_of(const data::Dataset& dataset, const report::EvaluatedImage& image) {
  try {
    if (image.row >= dataset.rows() || dataset.id(image.row) != image.id) return "";
    return eval::thumbnail(dataset.images(std::span(&image.row, 1))[0], dataset.description());
  } catch (const DataError&) {  // a damaged row
    return "";
  }
}

}  // namespace

report::PictureOf pictures_of_datasets() {
  using Split = std::pair<std::filesystem::path, std::string>;  // of a run
  const auto splits = std::make_shared<std::map<Split, std::optional<data::Dataset>>>();
  return [splits](const report::EvaluatedImage& image) {
    const auto [found, is_new] = splits->try_emplace({image.run, image.split});
    if (is_new) found->second = open_if_there(image);
    return found->second ? picture_of(*found->second, image) : "";
  };
}

}  // namespace cohort::jobs
