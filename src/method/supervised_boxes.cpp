#include "method/supervised_boxes.h"

#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/method/conditions.h"
#include "cohort/method/yolo_loss.h"

#include "method/box_picture.h"

namespace cohort::method {
namespace {

/// Boxes by YOLOv3's head and loss (yolo_loss.h): the mean over the images of a step. Metric:
/// "box_confidence", the mean confidence where a box is.
class SupervisedBoxes final : public Method {
 public:
  SupervisedBoxes(std::shared_ptr<nn::Detector> model, const data::Field& target,
                  const SupervisedOptions& options, const Materials& materials)
      : model_(std::move(model)),
        column_(target.name + "/0"),  // boxes move with the first view
        classes_(std::ssize(target.names)),
        overlap_(options.yolo_iou),
        anchors_(yolo_anchors(materials.description.images.height, materials.description.images.width)),
        scope_(materials.scope) {}

  std::vector<Part> parts() override { return {{"model", model_}}; }
  std::vector<NamedEncoder> encoders() override { return {{"model", model_->backbone(), "model"}}; }

  at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    COHORT_CHECK(batch.views.size() == 1, "supervised training needs one view, not {}", batch.views.size());
    const at::Tensor& images = batch.views.front();
    const nn::Tensors outputs =
        model_->forward(images, conditions(batch, step, scope_, 0, 1, /*training=*/true));
    at::Tensor sum;
    for (std::size_t scale = 0; scale < outputs.size(); ++scale) {
      const YoloTargets targets = yolo_targets(boxes_of(batch), grid_of(scale, images, outputs[scale]));
      const at::Tensor of_scale = yolo_loss(outputs[scale], targets);
      sum = sum.defined() ? sum + of_scale : of_scale;
      metrics.add("box_confidence",
                  yolo_confidence(outputs[scale].detach(), targets).to(at::kDouble).sum().item<double>(),
                  targets.cells.size(0));
    }
    return sum / static_cast<double>(step.global_images);
  }

  Answers answer(const data::Batch& batch, const nn::Conditions& conditions) override {
    FoundBoxes found = find(batch.views.front(), conditions);
    return {{"boxes", found.boxes}, {"confidence", found.confidence}, {"boxes_offsets", found.offsets}};
  }

  std::optional<Pictures> pictures(const data::Batch& batch, const Step& step) override {
    constexpr double kShown = 0.5;
    const at::Tensor& images = batch.views.front();
    const FoundBoxes found = find(images, conditions(batch, step, scope_, 0, 1, /*training=*/false));
    const data::Column answered = surer_than(kShown, found);
    return Pictures{"an image, its boxes, and the boxes that were answered with a confidence above 0.5",
                    {images, box_picture(images, boxes_of(batch)), box_picture(images, answered)}};
  }

 private:
  [[nodiscard]] const data::Column& boxes_of(const data::Batch& batch) const {
    const auto found = batch.columns.find(column_);
    COHORT_CHECK(found != batch.columns.end(), "batches have no '{}', which is learnt", column_);
    return found->second;
  }

  [[nodiscard]] YoloGrid grid_of(std::size_t scale, const at::Tensor& images,
                                 const at::Tensor& outputs) const {
    return {.anchors = anchors_.at(scale),
            .height = images.size(2),
            .width = images.size(3),
            .rows = outputs.size(2),
            .columns = outputs.size(3),
            .classes = classes_,
            .overlap = overlap_};
  }

  [[nodiscard]] FoundBoxes find(const at::Tensor& images, const nn::Conditions& conditions) const {
    const at::NoGradGuard no_gradients;
    const nn::Tensors outputs = model_->forward(images, conditions);
    std::vector<at::Tensor> decoded;
    for (std::size_t scale = 0; scale < outputs.size(); ++scale)
      decoded.push_back(decode_yolo(outputs[scale], grid_of(scale, images, outputs[scale])));
    return found_boxes(at::cat(decoded, 1));
  }

  std::shared_ptr<nn::Detector> model_;
  std::string column_;
  std::int64_t classes_;
  ShapeOverlap overlap_;
  std::array<YoloAnchors, 3> anchors_;  // in pixels of stored images, whatever the size of views
  nn::Scope scope_;
};

}  // namespace

std::unique_ptr<Method> make_supervised_boxes(const SupervisedOptions& options, const Materials& materials) {
  const data::Field& target = *target_of(options, materials.description);
  return std::make_unique<SupervisedBoxes>(make_detector(options, target, materials), target, options,
                                           materials);
}

}  // namespace cohort::method
