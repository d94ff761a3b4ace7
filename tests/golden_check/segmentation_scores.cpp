// Files of the kind dense.segmentation_scores: windows, and scores of classes of pixels.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/eval/task.h"
#include "cohort/method/windows.h"

#include "checks.h"
#include "eval/pixels.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

using nlohmann::json;

constexpr Tolerance kScore{0, 1e-9};

/// How often places are other than expected, and how many more there are.
void compare_starts(Comparison& file, const std::string& name, const std::vector<std::int64_t>& actual,
                    const json& expected) {
  file.number(name, actual == expected.get<std::vector<std::int64_t>>() ? 0 : 1, 0, kExact);
}

std::vector<std::int64_t> profile_of(const std::vector<std::int64_t>& starts, std::int64_t window,
                                     std::int64_t size) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(size));
  for (const std::int64_t start : starts) {
    for (std::int64_t i = start; i < start + window; ++i) ++counts[static_cast<std::size_t>(i)];
  }
  return counts;
}

void compare_windows(Comparison& file, const json& about) {
  const std::int64_t height = about.at("size")[0], width = about.at("size")[1], window = about.at("crop"),
                     stride = about.at("stride");
  const std::string name = "windows of " + std::to_string(height) + " x " + std::to_string(width);
  const std::vector<std::int64_t> rows = method::window_starts(height, window, stride);
  compare_starts(file, name + ": rows", rows, about.at("rows"));
  compare_starts(file, name + ": columns", method::window_starts(width, window, stride), about.at("columns"));
  if (!about.at("count_row_profile").is_null())
    compare_starts(file, name + ": counts", profile_of(rows, window, height), about.at("count_row_profile"));
}

/// [B, H, W] u8
at::Tensor pixels_of(const json& images) {
  std::vector<std::uint8_t> values;
  for (const json& image : images) {
    for (const json& row : image) {
      for (const json& value : row) values.push_back(value);
    }
  }
  return at::tensor(values, at::kByte).reshape({std::ssize(images), std::ssize(images[0]), -1});
}

/// What the task makes of answers that are sure.
eval::Scorecard scored_pixels(const at::Tensor& labels, const at::Tensor& predictions, std::int64_t classes) {
  std::vector<std::string> names;
  std::vector<std::int64_t> rows;
  for (std::int64_t c = 0; c < classes; ++c) names.push_back(std::to_string(c));
  for (std::int64_t i = 0; i < labels.size(0); ++i) rows.push_back(i);
  const auto task =
      eval::find_task("segmentation")
          .make(
              {{"mask", data::FieldKind::mask, data::ValueType::u8, {1, 1}}, names, {}, labels.size(0), {}});
  const method::Answers answers{
      {"logits", at::one_hot(predictions.to(at::kLong), classes).permute({0, 3, 1, 2}).to(at::kFloat)}};
  task->add({rows, {}, answers, {labels, {}}});
  return task->finish(one_rank());
}

double score_of(const std::vector<eval::Score>& scores, const std::string& name) {
  for (const eval::Score& score : scores) {
    if (score.name == name) return score.value;
  }
  throw std::runtime_error("there is no score " + name);
}

/// `expected`: of the classes from `first` on; null where there is none.
void compare_classes(Comparison& file, const eval::Scorecard& card, const std::string& name,
                     const std::string& score, const json& expected, std::size_t first) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double actual = score_of(card.classes.at(first + i).scores, score);
    const std::string of = name + " of class " + std::to_string(first + i);
    if (expected[i].is_null())
      file.number(of, std::isnan(actual) ? 0 : 1, 0, kExact);
    else
      file.number(of, actual, expected[i], kScore);
  }
}

void compare_scores(Comparison& file, const eval::Scorecard& card, const std::string& name,
                    const json& expected, std::size_t first) {
  file.number(name + ": accuracy", score_of(card.all, "pixel_accuracy"), expected.at("accuracy"), kScore);
  compare_classes(file, card, name + ": iou", "iou", expected.at("iou"), first);
  if (!expected.contains("mean_iou")) return;
  compare_classes(file, card, name + ": accuracy", "recall", expected.at("class_accuracy"), first);
  file.number(name + ": mean accuracy", score_of(card.all, "recall"), expected.at("mean_class_accuracy"),
              kScore);
  file.number(name + ": mean iou", score_of(card.all, "iou"), expected.at("mean_iou"), kScore);
}

/// A row: what pixels of one class are said to be.
void compare_confusion(Comparison& file, const at::Tensor& labels, const at::Tensor& predictions,
                       const json& expected) {
  const at::Tensor answers = predictions.to(at::kInt).flatten();
  for (std::size_t c = 0; c < expected.size(); ++c) {
    at::Tensor of_class = labels.to(at::kInt).flatten();
    of_class.masked_fill_(of_class.ne(static_cast<std::int64_t>(c)), eval::kUnknownPixel);
    const auto pixels = static_cast<std::size_t>(answers.numel());
    const std::vector<eval::ClassPixels> counts = eval::count_pixels(
        {{of_class.const_data_ptr<std::int32_t>(), pixels}, {answers.const_data_ptr<std::int32_t>(), pixels}},
        std::ssize(expected));
    for (std::size_t other = 0; other < expected.size(); ++other)
      file.number("confusion " + std::to_string(c) + " " + std::to_string(other),
                  static_cast<double>(counts[other].answered), expected[c][other], kExact);
  }
}

}  // namespace

void check_segmentation_scores(Comparison& file) {
  for (const json& about : file.about().at("windows")) compare_windows(file, about);
  for (const json& about : file.about().at("cases")) {
    const at::Tensor labels = pixels_of(about.at("labels")), predictions = pixels_of(about.at("predictions"));
    const std::int64_t classes = about.at("classes"), ignored = about.at("ignore");
    compare_confusion(file, labels, predictions, about.at("confusion"));
    compare_scores(file, scored_pixels(labels, predictions, classes), "all", about.at("all_classes"), 0);
    const at::Tensor without_rows = labels.masked_fill(labels.eq(0), ignored);
    compare_scores(file, scored_pixels(without_rows, predictions, classes), "rows of class 0 removed",
                   about.at("without_class_0_rows_only"), 1);
    compare_scores(file,
                   scored_pixels(without_rows.masked_fill(predictions.eq(0), ignored), predictions, classes),
                   "class 0 removed", about.at("without_class_0_published"), 1);
  }
}

}  // namespace cohort::golden_check
