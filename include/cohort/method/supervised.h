#pragma once
#include <memory>

#include "cohort/config/field.h"
#include "cohort/method/method.h"
#include "cohort/nn/vit.h"

namespace cohort::method {

struct SupervisedConfig {
  double label_smoothing = 0.0;
  double mixup = 0.0, cutmix = 0.0;

  template <class Visit>
  void fields(Visit& visit) {
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
  }
};

/// Cross-entropy of the class head on the cls feature (methods: ContextViT, supervised). Rows without a label
/// (-1) take part in context statistics, not in the loss. Mixed images (mixing.h) have both labels, by their
/// shares. Metrics: "accuracy", of the own label.
std::unique_ptr<Method> make_supervised(std::shared_ptr<nn::VisionTransformer> model,
                                        const SupervisedConfig& config, nn::Scope scope);

}  // namespace cohort::method
