#include "method/supervised_network.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/nn/dense_predictor.h"
#include "cohort/nn/feature_pyramid.h"
#include "cohort/nn/mask_transformer.h"
#include "cohort/nn/projection_head.h"
#include "cohort/nn/resnet.h"
#include "cohort/nn/unet_head.h"

namespace cohort::method {
namespace {

constexpr const char *kTarget = "supervised.target", *kHead = "supervised.head";

data::FieldKind kind_of(SupervisedTask task) {
  switch (task) {
    case SupervisedTask::multilabel:
      return data::FieldKind::flags;
    case SupervisedTask::regression:
      return data::FieldKind::numbers;
    case SupervisedTask::detection:
      return data::FieldKind::boxes;
    default:
      return data::FieldKind::mask;
  }
}

/// Whether the field tells of the image itself, which the encoder sees.
bool serves(const data::Field& field, data::FieldKind kind) {
  return field.kind == kind && field.of.empty();
}

/// The field that options name, or the only one that serves.
const data::Field& field_of(const SupervisedOptions& options, const data::Description& description) {
  const data::FieldKind kind = kind_of(options.task);
  std::vector<std::string> names;
  for (const data::Field& field : description.fields) {
    if (serves(field, kind)) names.push_back(field.name);
  }
  const std::string task(config::enum_name(options.task)), wanted(data::field_kind_name(kind));
  if (names.empty()) {
    throw UsageError(
        {fmt::format("task {} learns a field of kind {}, of which the dataset has none", task, wanted),
         kTarget, "convert the dataset with one (docs/data.md), or choose another supervised.task"});
  }
  const std::string& name = options.target.empty() ? names.front() : options.target;
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    throw UsageError(
        {fmt::format("the dataset has no field '{}' of kind {}, which task {} learns", name, wanted, task),
         kTarget, did_you_mean(name, names)});
  }
  if (options.target.empty() && names.size() > 1) {
    throw UsageError(
        {fmt::format("supervised.target is empty, and the dataset has several fields of kind {}", wanted),
         kTarget, "set it to one of " + join(names, ", ")});
  }
  return description.field(name);
}

/// One output stands for class 1 of two, where losses look at each output by itself.
bool is_binary(SupervisedLoss loss) {
  return loss == SupervisedLoss::bce || loss == SupervisedLoss::dice;
}

std::int64_t outputs_of(const SupervisedOptions& options, const data::Field& target) {
  if (options.task != SupervisedTask::segmentation) return target.shape.front();
  const std::int64_t classes = std::ssize(target.names);
  return classes == 2 && is_binary(loss_of(options)) ? 1 : classes;
}

[[noreturn]] void refuse_head(SupervisedHead head, const std::string& why, const std::string& fix) {
  throw UsageError({fmt::format("head {} {}", config::enum_name(head), why), kHead, fix});
}

void check_maps(SupervisedHead head, const nn::EncoderTraits& encoder) {
  if (!encoder.map_widths.empty()) return;
  refuse_head(head, fmt::format("reads maps of features, which a {} does not have", encoder.kind),
              "choose a vision transformer or a residual network, model.name");
}

/// A mask transformer of one output makes a constant of it.
void check_outputs(const SupervisedOptions& options, std::int64_t outputs) {
  if (options.head != SupervisedHead::mask_transformer || outputs > 1) return;
  refuse_head(options.head, "weighs classes against each other, and one output stands for both of two",
              "set supervised.loss=cross_entropy or dice_cross_entropy");
}

/// Of a head: over all of a step where that of the encoder is, else over groups.
nn::NormScope norm_scope_of(const nn::Encoder& encoder) {
  const auto* resnet = dynamic_cast<const nn::ResNet*>(&encoder);
  const bool over_all = resnet != nullptr && resnet->shape().batch_norm == nn::NormScope::all;
  return over_all ? nn::NormScope::all : nn::NormScope::group;
}

std::shared_ptr<nn::DenseHead> unet_of(const nn::Encoder& encoder, const data::ImageLayout& images,
                                       std::int64_t outputs) {
  const auto* resnet = dynamic_cast<const nn::ResNet*>(&encoder);
  if (resnet == nullptr || encoder.traits().stem_width == 0) {
    refuse_head(SupervisedHead::unet,
                "joins maps of every stride down from 2, which this encoder does not have",
                "choose a residual network with model.resnet.stem=imagenet, or supervised.head=fpn");
  }
  constexpr std::int64_t kCoarsest = 32;
  if (images.height % kCoarsest != 0 || images.width % kCoarsest != 0) {
    refuse_head(SupervisedHead::unet,
                fmt::format("halves images five times, which {} x {} pixels are not for", images.height,
                            images.width),
                "give the images a multiple of 32 pixels, with cohort-data convert --resize, or choose "
                "supervised.head=fpn");
  }
  nn::UnetShape shape = nn::unet_shape(encoder.traits(), resnet->shape().channels, outputs);
  shape.batch_norm = norm_scope_of(encoder);
  return std::make_shared<nn::UnetHead>(shape);
}

std::shared_ptr<nn::DenseHead> dense_head(const SupervisedOptions& options, const nn::Encoder& encoder,
                                          const data::ImageLayout& images, std::int64_t outputs) {
  const std::vector<std::int64_t>& widths = encoder.traits().map_widths;
  check_maps(options.head, encoder.traits());
  check_outputs(options, outputs);
  switch (options.head) {
    case SupervisedHead::mask_transformer:
      return std::make_shared<nn::MaskTransformer>(nn::MaskTransformerShape{.inputs = widths.back(),
                                                                            .outputs = outputs,
                                                                            .width = options.decoder_width,
                                                                            .depth = options.decoder_depth,
                                                                            .heads = options.decoder_heads});
    case SupervisedHead::fpn:
      return std::make_shared<nn::FeaturePyramidHead>(
          nn::FeaturePyramidShape{.inputs = widths, .width = options.pyramid_width, .outputs = outputs});
    case SupervisedHead::unet:
      return unet_of(encoder, images, outputs);
    default:
      return std::make_shared<nn::LinearDenseHead>(widths.back(), outputs);
  }
}

SupervisedNetwork dense_network(const SupervisedOptions& options, std::int64_t outputs,
                                const Materials& materials) {
  const std::shared_ptr<nn::Encoder> encoder = materials.encoder("image", /*classes=*/0);
  const auto model = std::make_shared<nn::DensePredictor>(
      encoder, dense_head(options, *encoder, materials.description.images, outputs));
  return {model, encoder, [model](const at::Tensor& images, const nn::Conditions& conditions) {
            return model->forward(images, conditions);
          }};
}

SupervisedNetwork encoder_alone(std::int64_t outputs, const Materials& materials) {
  const std::shared_ptr<nn::Encoder> encoder = materials.encoder("image", outputs);
  return {encoder, encoder, [encoder](const at::Tensor& images, const nn::Conditions& conditions) {
            return encoder->encode(images, conditions, nn::Encoder::logits).logits.to(at::kFloat);
          }};
}

SupervisedNetwork with_perceptron(std::int64_t hidden, std::int64_t outputs, const Materials& materials) {
  const std::shared_ptr<nn::Encoder> encoder = materials.encoder("image", /*classes=*/0);
  const nn::ProjectionHeadShape head{.hidden = hidden, .outputs = outputs, .batch_norm = nn::HeadNorm::none};
  const auto model = std::make_shared<nn::ProjectedEncoder>(encoder, head);
  return {model, encoder, [model](const at::Tensor& images, const nn::Conditions& conditions) {
            return model->forward(images, conditions).rows;
          }};
}

/// What a task takes; the first one is what it usually has.
std::vector<SupervisedHead> heads_of(SupervisedTask task) {
  using enum SupervisedHead;
  switch (task) {
    case SupervisedTask::classification:
      return {linear};
    case SupervisedTask::segmentation:
      return {linear, mask_transformer, fpn, unet};
    case SupervisedTask::detection:
      return {yolo};
    default:
      return {linear, mlp};
  }
}
std::vector<SupervisedLoss> losses_of(SupervisedTask task) {
  using enum SupervisedLoss;
  switch (task) {
    case SupervisedTask::multilabel:
      return {bce};
    case SupervisedTask::regression:
      return {mse, huber};
    case SupervisedTask::segmentation:
      return {cross_entropy, bce, dice, dice_cross_entropy};
    case SupervisedTask::detection:
      return {yolo};
    default:
      return {cross_entropy};
  }
}

template <class Value>
void check_one_of(const std::vector<Value>& known, Value value, const std::string& key, SupervisedTask task,
                  const std::string& where) {
  if (std::find(known.begin(), known.end(), value) != known.end()) return;
  std::vector<std::string> names;
  for (const Value each : known) names.emplace_back(config::enum_name(each));
  throw UsageError({fmt::format("supervised.{}={} is none of supervised.task={}", key,
                                config::enum_name(value), config::enum_name(task)),
                    where, fmt::format("use {}", join(names, ", "))});
}

void check_windows(const SupervisedOptions& options, const std::string& where) {
  if (options.window > 0 && options.task != SupervisedTask::segmentation) {
    throw UsageError(
        {"supervised.window is for supervised.task=segmentation: other tasks answer whole images", where,
         "leave it out"});
  }
  if (options.stride <= options.window) return;
  throw UsageError({fmt::format("supervised.stride={} leaves pixels between windows of supervised.window={}",
                                options.stride, options.window),
                    where, "choose a stride of at most the window, or 0"});
}

/// Options that only labels have a meaning for.
void check_no_option_of_labels(const SupervisedOptions& options, const std::string& where) {
  const auto refuse = [&](bool is_set, std::string_view key) {
    if (!is_set) return;
    throw UsageError({fmt::format("supervised.{} is for classification, not for supervised.task={}", key,
                                  config::enum_name(options.task)),
                      where, "leave it out"});
  };
  refuse(options.label_smoothing > 0, "label_smoothing");
  refuse(options.mixup > 0, "mixup");
  refuse(options.cutmix > 0, "cutmix");
  refuse(options.class_weights != ClassWeights::none, "class_weights");
}

}  // namespace

SupervisedLoss loss_of(const SupervisedOptions& options) {
  return options.loss == SupervisedLoss::automatic ? losses_of(options.task).front() : options.loss;
}

const data::Field* target_of(const SupervisedOptions& options, const data::Description& description) {
  if (options.task == SupervisedTask::classification) return nullptr;
  const data::Field& field = field_of(options, description);
  if (options.task == SupervisedTask::segmentation && field.names.size() < 2) {
    throw UsageError({fmt::format("mask '{}' names {} classes, and two at least can be told apart",
                                  field.name, field.names.size()),
                      kTarget, "convert the dataset with names of the mask's classes (docs/data.md)"});
  }
  return &field;
}

SupervisedNetwork make_network(const SupervisedOptions& options, const data::Field& target,
                               const Materials& materials) {
  const std::int64_t outputs = outputs_of(options, target);
  if (options.task == SupervisedTask::segmentation) return dense_network(options, outputs, materials);
  if (options.head == SupervisedHead::mlp) return with_perceptron(options.hidden, outputs, materials);
  return encoder_alone(outputs, materials);
}

std::shared_ptr<nn::Detector> make_detector(const SupervisedOptions& options, const data::Field& target,
                                            const Materials& materials) {
  const std::shared_ptr<nn::Encoder> encoder = materials.encoder("image", /*classes=*/0);
  check_maps(options.head, encoder->traits());
  const std::int64_t classes = std::max<std::int64_t>(std::ssize(target.names), 1);
  nn::YoloShape shape = nn::yolo_shape(encoder->traits(), options.yolo_width, kYoloAnchors * (5 + classes));
  shape.batch_norm = norm_scope_of(*encoder);
  return std::make_shared<nn::Detector>(encoder, shape);
}

bool is_encoder_alone(const SupervisedOptions& options) {
  return options.task != SupervisedTask::segmentation && options.task != SupervisedTask::detection &&
         options.head == SupervisedHead::linear;
}

void check_supervised(const SupervisedOptions& options, const std::string& where) {
  check_one_of(heads_of(options.task), options.head, "head", options.task, where);
  check_one_of(losses_of(options.task), loss_of(options), "loss", options.task, where);
  if (options.decoder_width % options.decoder_heads != 0) {
    throw UsageError({fmt::format("supervised.decoder_heads={} does not divide supervised.decoder_width={}",
                                  options.decoder_heads, options.decoder_width),
                      where, "choose another width or another number of heads"});
  }
  check_windows(options, where);
  if (options.task != SupervisedTask::classification) return check_no_option_of_labels(options, where);
  if (options.target.empty()) return;
  throw UsageError({"supervised.target is set, but supervised.task=classification learns data.label", where,
                    "set supervised.task, or data.label instead"});
}

}  // namespace cohort::method
