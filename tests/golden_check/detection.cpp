// Files of the kinds reports.nms and reports.detection_metrics: boxes.
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/eval/task.h"
#include "cohort/method/boxes.h"

#include "checks.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

using nlohmann::json;

/// [n, 5 + C] with centre and size as boxes [n, 5]; of one class its probability does not matter.
at::Tensor boxes_of(const at::Tensor& predicted) {
  const at::Tensor half = predicted.narrow(1, 2, 2) / 2, centre = predicted.narrow(1, 0, 2);
  const at::Tensor of_class = predicted.narrow(1, 5, predicted.size(1) - 5).argmax(1, true);
  return at::cat({centre - half, centre + half, of_class.to(predicted.scalar_type())}, 1);
}

/// As the file has it: x, y, width, height, confidence, class.
at::Tensor published(const at::Tensor& boxes, const at::Tensor& confidence) {
  const at::Tensor corner = boxes.narrow(1, 0, 2);
  return at::cat({corner, boxes.narrow(1, 2, 2) - corner, confidence.unsqueeze(1), boxes.narrow(1, 4, 1)}, 1);
}

/// x, y, width, height as corners.
at::Tensor corners_of(const at::Tensor& boxes) {
  return at::cat({boxes.narrow(1, 0, 2), boxes.narrow(1, 0, 2) + boxes.narrow(1, 2, 2)}, 1);
}

/// Boxes of many images, one after the other.
struct Column {
  std::vector<at::Tensor> values;
  std::vector<std::int64_t> ends{0};

  void add(const at::Tensor& boxes, const at::Tensor& classes) {
    values.push_back(at::cat({corners_of(boxes.to(at::kFloat)), classes.to(at::kFloat).unsqueeze(1)}, 1));
    ends.push_back(ends.back() + boxes.size(0));
  }
};

eval::Scorecard scored_boxes(Comparison& file, const std::string& number, const json& about,
                             const std::vector<double>& overlaps) {
  const std::int64_t images = about.at("images");
  std::vector<std::string> names;
  for (std::int64_t c = 0; c < about.at("classes"); ++c) names.push_back(std::to_string(c));
  eval::TaskConfig config;
  config.iou = overlaps;
  config.box_rule = eval::BoxRule::plus_one;
  const auto task =
      eval::find_task("detection")
          .make(
              {{"boxes", data::FieldKind::boxes, data::ValueType::f32, {-1, 5}}, names, {}, images, config});
  Column labelled, told;
  std::vector<at::Tensor> confidences;
  for (std::int64_t i = 0; i < images; ++i) {
    const std::string of = number + "_" + std::to_string(i);
    labelled.add(file.input("in." + of + "_boxes"), file.input("in." + of + "_classes"));
    told.add(file.input("pred." + of + "_boxes"), file.input("pred." + of + "_classes"));
    confidences.push_back(file.float_input("pred." + of + "_conf"));
  }
  std::vector<std::int64_t> rows(static_cast<std::size_t>(images));
  std::iota(rows.begin(), rows.end(), 0);
  const method::Answers answers{{"boxes", at::cat(told.values)},
                                {"confidence", at::cat(confidences)},
                                {"boxes_offsets", at::tensor(told.ends, at::kLong)}};
  task->add({rows, {}, answers, {at::cat(labelled.values), at::tensor(labelled.ends, at::kLong)}});
  return task->finish(one_rank());
}

void compare_detection(Comparison& file, const std::string& number, const json& about,
                       const std::vector<double>& overlaps, Tolerance tolerance) {
  const eval::Scorecard card = scored_boxes(file, number, about, overlaps);
  const std::string name = "case " + number + ": ";
  file.number(name + "mAP", card.find("map")->value, about.at("mAP"), tolerance);
  file.number(name + "AP50", card.find("ap50")->value, about.at("AP50"), tolerance);
  file.number(name + "AP75", card.find("ap75")->value, about.at("AP75"), tolerance);
  if (about.contains("fROC"))
    file.number(name + "fROC", card.find("froc")->value, about.at("fROC"), tolerance);
  for (std::size_t c = 0; c < about.at("per_class").size(); ++c)
    file.number(name + "class " + std::to_string(c), card.classes[c].scores.front().value,
                about.at("per_class")[c], tolerance);
  if (about.contains("sensitivities")) {
    const json& read = about.at("sensitivities");
    for (std::size_t i = 0; i < read.size(); ++i)
      file.number(name + "sensitivity " + std::to_string(i), card.curves[1].points[i][1], read[i], tolerance);
  }
}

}  // namespace

void check_suppression(Comparison& file) {
  const json& about = file.about();
  for (const auto& [number, of_case] : about.at("cases").items()) {
    const at::Tensor all = file.float_input("in.pred" + number);
    for (std::int64_t image = 0; image < all.size(0); ++image) {
      const at::Tensor boxes = boxes_of(all[image]), confidence = all[image].select(1, 4).contiguous();
      const std::vector<std::int64_t> rows = method::suppress_boxes(
          boxes, confidence, {.confidence = about.at("confidence"), .overlap = about.at("iou"), .longer = 1});
      const std::string of = number + "_" + std::to_string(image);
      const at::Tensor kept = at::tensor(rows, at::kLong);
      file.tensor("keep." + of, kept, kExact);
      file.tensor("out." + of, published(boxes.index_select(0, kept), confidence.index_select(0, kept)),
                  {1e-5});
    }
  }
}

void check_detection_metrics(Comparison& file) {
  const json& about = file.about();
  const Tolerance tolerance{0, leading_number(about.at("tolerance"))};
  const auto overlaps = about.at("iou_thresholds").get<std::vector<double>>();
  for (const auto& [number, of_case] : about.at("cases").items()) {
    compare_detection(file, number, of_case, overlaps, tolerance);
    for (const double overlap : overlaps) {  // one by one
      const eval::Scorecard card = scored_boxes(file, number, of_case, {overlap});
      for (std::size_t c = 0; c < card.classes.size(); ++c) {
        const std::string key = nlohmann::json(overlap).dump() + "_" + std::to_string(c);
        file.number("case " + number + ": AP at " + key, card.classes[c].scores.front().value,
                    of_case.at("AP").at(key), tolerance);
      }
    }
  }
}

}  // namespace cohort::golden_check
