#pragma once
#include <cstdint>
#include <memory>

#include "cohort/config/field.h"
#include "cohort/method/method.h"
#include "cohort/nn/dino_network.h"

namespace cohort::method {

struct DinoConfig {
  std::int64_t prototypes = 65536, hidden = 2048, bottleneck = 256;
  bool norm_last_layer = true, batch_norm = false;
  std::int64_t freeze_last_layer = 1;
  double student_temperature = 0.1;
  double teacher_temperature = 0.07, teacher_temperature_start = 0.04;
  std::int64_t teacher_temperature_epochs = 30;
  double teacher_momentum = 0.996, centre_momentum = 0.9;
  double student_channel_drop = 0.0;

  template <class Visit>
  void fields(Visit& visit) {
    visit("prototypes", prototypes, "outputs of the head", config::Range<std::int64_t>{2, 1 << 24});
    visit("hidden", hidden, "width of the head's hidden layers", config::Range<std::int64_t>{1, 1 << 20});
    visit("bottleneck", bottleneck, "width of the head before the prototypes",
          config::Range<std::int64_t>{1, 1 << 20});
    visit("norm_last_layer", norm_last_layer, "prototypes are unit vectors; false: their lengths are learnt");
    visit("batch_norm", batch_norm, "batch normalisation in the head, over all ranks");
    visit("freeze_last_layer", freeze_last_layer, "epochs at the start in which the prototypes stay",
          config::Range<std::int64_t>{0, 1 << 30});
    visit("student_temperature", student_temperature, "divides the student's logits",
          config::Range{0.001, 10.0});
    visit("teacher_temperature", teacher_temperature, "divides the teacher's logits, after the warm-up",
          config::Range{0.001, 10.0});
    visit("teacher_temperature_start", teacher_temperature_start,
          "the same at the start; grows linearly with the epochs", config::Range{0.001, 10.0});
    visit("teacher_temperature_epochs", teacher_temperature_epochs, "epochs of that warm-up",
          config::Range<std::int64_t>{0, 1 << 30});
    visit("teacher_momentum", teacher_momentum,
          "part of the teacher that a step keeps at the start; a cosine brings it to 1",
          config::Range{0.0, 1.0});
    visit("centre_momentum", centre_momentum, "part of the centre that a step keeps",
          config::Range{0.0, 1.0});
    visit("student_channel_drop", student_channel_drop,
          "probability that a channel of a student's view is set to zero", config::Range{0.0, 0.99});
  }
};

/// Shape of the head on features of `width`.
nn::DinoHeadShape dino_head_shape(const DinoConfig& config, std::int64_t width);

/// Temperature of the teacher in an epoch: linspace(start, temperature, warm-up epochs), then constant.
double teacher_temperature(const DinoConfig& config, std::int64_t epoch);

/// Self-distillation without labels (Caron et al., arXiv 2104.14294; formulas and sources in
/// docs/methods.md). Parts: "student", trained, and "teacher", which follows it; buffer: "centre". Batches
/// have two or more views, of which the first two are the teacher's; neighbours of one size are computed in
/// one forward pass. Statistics of a context go over all views of its images of one size. A view's random
/// numbers are keyed by sample * V + view. Metrics: "teacher_entropy", "kl" (teacher against student, mean
/// over pairs of views), "centre_norm", "feature_std" (of the teacher's L2-normalised features within a
/// group, mean over dimensions and groups: 0 is collapse).
/// Both networks have the same shape.
std::unique_ptr<Method> make_dino(std::shared_ptr<nn::DinoNetwork> student,
                                  std::shared_ptr<nn::DinoNetwork> teacher, const DinoConfig& config,
                                  nn::Scope scope);

}  // namespace cohort::method
