#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cohort/config/options.h"
#include "cohort/method/field_losses.h"
#include "cohort/method/yolo_loss.h"

namespace cohort::method {

/// What is learnt from a dataset's labels or fields.
enum class SupervisedTask {
  classification,  ///< a label: classes that exclude each other
  multilabel,      ///< a field of flags
  regression,      ///< a field of numbers
  segmentation,    ///< a mask: a class for every pixel
  detection,       ///< boxes and their classes
};
inline std::span<const config::EnumName<SupervisedTask>> enum_names(SupervisedTask) {
  static constexpr std::array<config::EnumName<SupervisedTask>, 5> names{
      {{SupervisedTask::classification, "classification"},
       {SupervisedTask::multilabel, "multilabel"},
       {SupervisedTask::regression, "regression"},
       {SupervisedTask::segmentation, "segmentation"},
       {SupervisedTask::detection, "detection"}}};
  return names;
}

/// What stands behind the encoder.
enum class SupervisedHead { linear, mlp, mask_transformer, fpn, unet, yolo };
inline std::span<const config::EnumName<SupervisedHead>> enum_names(SupervisedHead) {
  static constexpr std::array<config::EnumName<SupervisedHead>, 6> names{
      {{SupervisedHead::linear, "linear"},
       {SupervisedHead::mlp, "mlp"},
       {SupervisedHead::mask_transformer, "mask_transformer"},
       {SupervisedHead::fpn, "fpn"},
       {SupervisedHead::unet, "unet"},
       {SupervisedHead::yolo, "yolo"}}};
  return names;
}

/// `automatic`: cross_entropy of classes and pixels, bce of flags, mse of numbers, yolo of boxes.
enum class SupervisedLoss { automatic, cross_entropy, bce, dice, dice_cross_entropy, mse, huber, yolo };
inline std::span<const config::EnumName<SupervisedLoss>> enum_names(SupervisedLoss) {
  static constexpr std::array<config::EnumName<SupervisedLoss>, 8> names{
      {{SupervisedLoss::automatic, "automatic"},
       {SupervisedLoss::cross_entropy, "cross_entropy"},
       {SupervisedLoss::bce, "bce"},
       {SupervisedLoss::dice, "dice"},
       {SupervisedLoss::dice_cross_entropy, "dice_cross_entropy"},
       {SupervisedLoss::mse, "mse"},
       {SupervisedLoss::huber, "huber"},
       {SupervisedLoss::yolo, "yolo"}}};
  return names;
}

inline std::span<const config::EnumName<DiceClasses>> enum_names(DiceClasses) {
  static constexpr std::array<config::EnumName<DiceClasses>, 2> names{
      {{DiceClasses::merged, "merged"}, {DiceClasses::per_class, "per_class"}}};
  return names;
}

inline std::span<const config::EnumName<ShapeOverlap>> enum_names(ShapeOverlap) {
  static constexpr std::array<config::EnumName<ShapeOverlap>, 2> names{
      {{ShapeOverlap::plus_one, "plus_one"}, {ShapeOverlap::exact, "exact"}}};
  return names;
}

/// How much an image counts by its class.
enum class ClassWeights {
  none,      ///< all alike
  balanced,  ///< N / (K n_k): every class of the training images counts as much as every other
};
inline std::span<const config::EnumName<ClassWeights>> enum_names(ClassWeights) {
  static constexpr std::array<config::EnumName<ClassWeights>, 2> names{
      {{ClassWeights::none, "none"}, {ClassWeights::balanced, "balanced"}}};
  return names;
}

struct SupervisedOptions {
  SupervisedTask task = SupervisedTask::classification;
  std::string target;
  SupervisedHead head = SupervisedHead::linear;
  SupervisedLoss loss = SupervisedLoss::automatic;
  DiceClasses dice_classes = DiceClasses::merged;
  std::int64_t hidden = 512;
  std::int64_t decoder_width = 512, decoder_depth = 2, decoder_heads = 8;
  std::int64_t pyramid_width = 256;
  std::int64_t yolo_width = 512;
  ShapeOverlap yolo_iou = ShapeOverlap::plus_one;
  std::int64_t window = 0, stride = 0;
  double label_smoothing = 0.0;
  double mixup = 0.0, cutmix = 0.0;
  ClassWeights class_weights = ClassWeights::none;

  /// Of these depend shapes of weights: the options that a run which goes on cannot change.
  static constexpr std::array<std::string_view, 10> kShaping{
      "task",          "target",        "head",          "loss",          "hidden",
      "decoder_width", "decoder_depth", "decoder_heads", "pyramid_width", "yolo_width"};

  template <class Visit>
  void fields(Visit& visit) {
    using Count = config::Range<std::int64_t>;
    visit(
        "task", task,
        "what is learnt: classification: data.label; multilabel: flags; regression: numbers; segmentation: a "
        "mask; detection: boxes");
    visit("target", target,
          "field of the dataset that is learnt, of the kind that the task takes; empty: the only one. "
          "Classification has data.label");
    visit("head", head,
          "what stands behind the encoder: linear: one linear layer, of every place for segmentation; mlp: "
          "two, "
          "for multilabel and regression; for segmentation mask_transformer: Segmenter's decoder; fpn: a "
          "feature pyramid; unet: steps up with skip connections, of a residual network");
    visit("loss", loss,
          "what is made small: automatic: cross_entropy for classification and segmentation, bce for "
          "multilabel, "
          "mse for regression, yolo for detection. Segmentation also takes bce, dice and dice_cross_entropy "
          "(their sum), "
          "regression "
          "huber");
    visit("dice_classes", dice_classes,
          "over what a Dice coefficient is: merged: all classes as one set; per_class: each class, and their "
          "mean");
    visit("hidden", hidden, "width of the mlp head's hidden layer", Count{1, 1 << 20});
    visit("decoder_width", decoder_width, "width of the mask transformer", Count{1, 1 << 16});
    visit("decoder_depth", decoder_depth, "its blocks", Count{1, 100});
    visit("decoder_heads", decoder_heads, "its attention heads, which divide the width", Count{1, 1 << 10});
    visit("pyramid_width", pyramid_width, "channels of the feature pyramid's levels", Count{1, 1 << 16});
    visit(
        "yolo_width", yolo_width,
        "channels of the YOLOv3 head's convolutions of 1 x 1 on the coarsest scale; finer ones have half and "
        "a quarter",
        Count{4, 1 << 16});
    visit("yolo_iou", yolo_iou,
          "how alike a box and an anchor are: plus_one: with sides one cell longer, as published; exact: as "
          "they are");
    visit("window", window,
          "segmentation answers windows of so many pixels each way, and says of a pixel the mean of those "
          "that it "
          "lies in; 0: the whole image at once",
          Count{0, 1 << 20});
    visit("stride", stride, "pixels from window to window, at most the window; 0: half a window",
          Count{0, 1 << 20});
    visit("label_smoothing", label_smoothing, "part of the target spread evenly over all classes",
          config::Range{0.0, 0.99});
    visit(
        "mixup", mixup,
        "images of a group are added to each other, with shares of a Beta distribution with this parameter; "
        "0: not",
        config::Range{0.0, 100.0});
    visit(
        "cutmix", cutmix,
        "a box of one image is pasted into another of its group; the parameter as above. With mixup a group "
        "does the one or the other",
        config::Range{0.0, 100.0});
    visit(
        "class_weights", class_weights,
        "how much an image counts by its class: none: all alike; balanced: classes count alike, however many "
        "training images they have");
  }
};

}  // namespace cohort::method
