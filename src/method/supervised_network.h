#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cohort/data/description.h"
#include "cohort/method/registry.h"
#include "cohort/nn/encoder.h"
#include "cohort/nn/yolo_head.h"

#include "method/supervised_options.h"

namespace cohort::method {

/// An encoder with the head of a task.
struct SupervisedNetwork {
  std::shared_ptr<nn::UnitModel> model;
  std::shared_ptr<nn::Encoder> encoder;
  /// f32 [B, outputs], of segmentation [B, outputs, H, W], of images [B, C, H, W]. Collective where the model
  /// is.
  std::function<at::Tensor(const at::Tensor& images, const nn::Conditions& conditions)> outputs;
};

/// The loss that `automatic` stands for.
SupervisedLoss loss_of(const SupervisedOptions& options);

/// The field that a task learns; null for classification. Throws UsageError: there is none, or not one alone,
/// of the kind that the task takes; a mask without names of its classes.
const data::Field* target_of(const SupervisedOptions& options, const data::Description& description);

/// The network that learns `target`. Throws UsageError: a head that the encoder or the images are not for.
SupervisedNetwork make_network(const SupervisedOptions& options, const data::Field& target,
                               const Materials& materials);

/// The network that finds boxes of `target`. Throws UsageError: an encoder without maps of features.
std::shared_ptr<nn::Detector> make_detector(const SupervisedOptions& options, const data::Field& target,
                                            const Materials& materials);

/// Whether the encoder's own head is the head of the task.
bool is_encoder_alone(const SupervisedOptions& options);

/// Throws UsageError where the options contradict each other; `where`: the configuration.
void check_supervised(const SupervisedOptions& options, const std::string& where);

}  // namespace cohort::method
