// Files of the kinds reports.yolo_loss and reports.yolo_net: the detector of LoVT's evaluation.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/method/yolo_loss.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/yolo_head.h"

#include "checks.h"
#include "mini_resnet.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

using nlohmann::json;

/// Of a file's images: x, y, width, height, class.
data::Column labelled_boxes(Comparison& file, std::int64_t images) {
  std::vector<at::Tensor> values;
  std::vector<std::int64_t> ends{0};
  for (std::int64_t i = 0; i < images; ++i) {
    const at::Tensor boxes = file.float_input("in.boxes" + std::to_string(i)),
                     classes = file.float_input("in.classes" + std::to_string(i));
    const at::Tensor corner = boxes.narrow(1, 0, 2);
    values.push_back(at::cat({corner, corner + boxes.narrow(1, 2, 2), classes.unsqueeze(1)}, 1));
    ends.push_back(ends.back() + boxes.size(0));
  }
  return {at::cat(values), at::tensor(ends, at::kLong)};
}

method::YoloGrid grid_of(const json& about, std::size_t scale, const at::Tensor& outputs) {
  const std::int64_t side = about.at("image_side");
  method::YoloGrid grid{.anchors = method::yolo_anchors(side, side).at(scale),
                        .height = side,
                        .width = side,
                        .rows = outputs.size(2),
                        .columns = outputs.size(3),
                        .classes = about.at("classes")};
  return grid;
}

void compare_anchors(Comparison& file) {
  const std::int64_t side = file.about().at("image_side");
  const auto anchors = method::yolo_anchors(side, side);
  for (std::size_t scale = 0; scale < anchors.size(); ++scale) {
    for (std::size_t a = 0; a < anchors.at(scale).size(); ++a) {
      const method::Anchor& anchor = anchors.at(scale).at(a);
      const json& expected = file.about().at("anchors")[scale][a];
      const std::string name = "anchor " + std::to_string(scale) + " " + std::to_string(a);
      file.number(name + " width", anchor.width, expected[0], {1e-12});
      file.number(name + " height", anchor.height, expected[1], {1e-12});
    }
  }
}

/// As the file has them: where the box's own cell is among the empty ones is the fifth value.
void compare_targets(Comparison& file, const std::string& prefix, const method::YoloTargets& targets) {
  const at::Tensor& cells = targets.cells;
  const at::Tensor is_empty =
      targets.empty.index({cells.select(1, 0), cells.select(1, 1), cells.select(1, 2), cells.select(1, 3)});
  file.tensor(prefix + "index", cells, kExact);
  file.tensor(prefix + "values", at::cat({targets.places, is_empty.to(at::kFloat).unsqueeze(1)}, 1), {1e-5});
  file.tensor(prefix + "classes", targets.classes, kExact);
  file.tensor(prefix + "ignored", targets.empty.logical_not().nonzero(), kExact);
}

}  // namespace

void check_yolo_loss(Comparison& file) {
  constexpr Tolerance kLoss{1e-5}, kGradient{1e-4};
  compare_anchors(file);
  const std::int64_t images = file.input("in.out0").size(0);
  const data::Column boxes = labelled_boxes(file, images);
  at::Tensor total = at::zeros({});
  std::vector<at::Tensor> outputs;
  for (std::size_t scale = 0; scale < 3; ++scale) {
    const std::string number = std::to_string(scale);
    outputs.push_back(leaf(file.float_input("in.out" + number)));
    const method::YoloGrid grid = grid_of(file.about(), scale, outputs.back());
    const method::YoloTargets targets = method::yolo_targets(boxes, grid);
    compare_targets(file, "target" + number + ".", targets);
    const at::Tensor loss = method::yolo_loss(outputs.back(), targets) / static_cast<double>(images);
    file.tensor("loss.scale" + number, loss, kLoss);
    file.tensor("decoded" + number, method::decode_yolo(outputs.back(), grid), kLoss);
    total = total + loss;
  }
  total.backward();
  file.tensor("loss", total, kLoss);
  for (std::size_t scale = 0; scale < outputs.size(); ++scale)
    file.tensor("grad_in.out" + std::to_string(scale), outputs[scale].grad(), kGradient);
}

namespace {

/// The widths that the file's metadata has in words.
nn::YoloShape narrow_shape(const MiniResNet::Features& features, std::int64_t outputs) {
  nn::YoloShape shape{.inputs = {}, .scales = {{{8, 12, 4}, {6, 8, 3}, {4, 6, 0}}}, .outputs = outputs};
  for (const nn::FeatureMap& map : features.maps) shape.inputs.push_back(map.values.size(1));
  return shape;
}

/// Boxes of the images in the file's form: x, y, width, height.
void compare_found(Comparison& file, const method::FoundBoxes& found) {
  const json& counts = file.about().at("detections");
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto image = static_cast<std::int64_t>(i);
    const std::string number = std::to_string(i);
    const std::int64_t begin = found.offsets[image].item<std::int64_t>(),
                       count = found.offsets[image + 1].item<std::int64_t>() - begin;
    file.number("boxes of image " + number, static_cast<double>(count), counts[i], kExact);
    if (count == 0) continue;
    const at::Tensor boxes = found.boxes.narrow(0, begin, count), corner = boxes.narrow(1, 0, 2);
    file.tensor("out.boxes" + number, at::cat({corner, boxes.narrow(1, 2, 2) - corner}, 1), {1e-4});
    file.tensor("out.conf" + number, found.confidence.narrow(0, begin, count), {1e-4});
    file.tensor("out.classes" + number, boxes.select(1, 4).to(at::kLong), kExact);
  }
}

}  // namespace

void check_yolo_net(Comparison& file) {
  constexpr Tolerance kLoss{3e-5}, kOutputs{1e-4}, kGradient{1e-3};
  const std::string backbone = "backbone.backbone_layers.";
  for (const std::string& name : file.names("param.")) (void)file.input("param." + name);
  const at::Tensor images = file.float_input("in.image").unsqueeze(1).repeat({1, 3, 1, 1});
  const MiniResNet network(file, backbone);
  const MiniResNet::Features features = network.forward(images);
  nn::YoloHead head(narrow_shape(features, file.input("out.out0").size(1)));
  nn::initialise(head, 1);
  load_by_name(file, head, as_it_is);
  const auto run = [](std::size_t, const nn::Tensors& inputs, const nn::UnitRunner::Body& body) {
    return body(inputs);
  };
  const nn::Tensors outputs = head.forward(features.maps, {.training = true}, run);
  const data::Column boxes = labelled_boxes(file, images.size(0));
  at::Tensor loss = at::zeros({});
  std::vector<at::Tensor> decoded;
  for (std::size_t scale = 0; scale < outputs.size(); ++scale) {
    const method::YoloGrid grid = grid_of(file.about(), scale, outputs[scale]);
    loss = loss + method::yolo_loss(outputs[scale], method::yolo_targets(boxes, grid)) /
                      static_cast<double>(images.size(0));
    decoded.push_back(method::decode_yolo(outputs[scale].detach(), grid));
    file.tensor("out.out" + std::to_string(scale), outputs[scale], kOutputs);
  }
  loss.backward();
  for (std::size_t i = 1; i < features.maps.size(); ++i)
    file.tensor("out.conv" + std::to_string(i + 2), features.maps[i].values, kOutputs);
  file.tensor("loss", loss, kLoss);
  compare_found(file, method::found_boxes(at::cat(decoded, 1)));
  network.compare(file, "grad." + backbone, kGradient);
  compare_by_name(file, "grad.", head, as_it_is, kGradient);
}

}  // namespace cohort::golden_check
