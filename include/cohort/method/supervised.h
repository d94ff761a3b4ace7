#pragma once
#include <memory>

#include "cohort/config/field.h"
#include "cohort/method/method.h"
#include "cohort/nn/vit.h"

namespace cohort::method {

struct SupervisedConfig {
  double label_smoothing = 0.0;

  template <class Visit>
  void fields(Visit& visit) {
    visit("label_smoothing", label_smoothing, "part of the target spread evenly over all classes",
          config::Range{0.0, 0.99});
  }
};

/// Cross-entropy of the class head on the cls feature (methods: ContextViT, supervised). Rows without a label
/// (-1) take part in context statistics, not in the loss. Metrics: "accuracy".
std::unique_ptr<Method> make_supervised(std::shared_ptr<nn::VisionTransformer> model,
                                        const SupervisedConfig& config, nn::Scope scope);

}  // namespace cohort::method
