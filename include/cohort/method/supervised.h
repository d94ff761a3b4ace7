#pragma once
#include <memory>
#include <span>
#include <vector>

#include "cohort/config/field.h"
#include "cohort/method/method.h"
#include "cohort/nn/encoder.h"

namespace cohort::method {

/// How much an image counts by its class.
enum class ClassWeights {
  none,      ///< all alike
  balanced,  ///< N / (K n_k): every class of the training images counts as much as every other
};
std::span<const config::EnumName<ClassWeights>> enum_names(ClassWeights);

struct SupervisedConfig {
  double label_smoothing = 0.0;
  double mixup = 0.0, cutmix = 0.0;
  ClassWeights class_weights = ClassWeights::none;

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
    visit(
        "class_weights", class_weights,
        "how much an image counts by its class: none: all alike; balanced: classes count alike, however many "
        "training images they have");
  }
};

/// N / (K n_k) of `counts` n_k of K classes that N images have; 0 for a class without images.
std::vector<double> balanced_weights(std::span<const std::int64_t> counts);

/// Cross-entropy of the class head on the pooled features (methods: ContextViT, supervised). Rows without a
/// label
/// (-1) take part in context statistics, not in the loss. Mixed images (mixing.h) have both labels, by their
/// shares. Metrics: "accuracy", of the own label. `weights` [classes]: the mean is weighted by the class of
/// each image, as PyTorch's cross-entropy does it (smoothing is spread by weights too); empty: all alike.
std::unique_ptr<Method> make_supervised(std::shared_ptr<nn::Encoder> model, const SupervisedConfig& config,
                                        nn::Scope scope, std::span<const double> weights = {});

}  // namespace cohort::method
