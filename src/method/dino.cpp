#include "cohort/method/dino.h"

#include <span>
#include <tuple>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/core/schedule.h"
#include "cohort/method/dino_loss.h"
#include "cohort/nn/dropout.h"

namespace cohort::method {
namespace {

// Sum over groups of the deviation of `features` [R, D], L2-normalised, within the group, and their number.
std::pair<double, std::int64_t> deviation_in_groups(const at::Tensor& features, const at::Tensor& group) {
  const at::Tensor rows = features / features.norm(2, 1, true).clamp_min(1e-12);
  const auto [numbers, place] = at::_unique(group, /*sorted=*/true, /*return_inverse=*/true);
  const at::Tensor zeros = at::zeros({numbers.size(0), rows.size(1)}, rows.options());
  const at::Tensor counts = at::bincount(place).unsqueeze(1);
  const at::Tensor mean = zeros.index_add(0, place, rows) / counts;
  const at::Tensor variance =
      zeros.index_add(0, place, at::square(rows - mean.index_select(0, place))) / counts;
  return {variance.sqrt().mean(1).sum().item<double>(), numbers.size(0)};
}

// Numbers of neighbouring views of one size.
std::vector<std::span<const at::Tensor>> by_size(std::span<const at::Tensor> views) {
  std::vector<std::span<const at::Tensor>> runs;
  std::size_t begin = 0;
  for (std::size_t end = 1; end <= views.size(); ++end) {
    if (end < views.size() && views[end].sizes() == views[begin].sizes()) continue;
    runs.push_back(views.subspan(begin, end - begin));
    begin = end;
  }
  return runs;
}

class Dino final : public Method {
 public:
  Dino(std::shared_ptr<nn::DinoNetwork> student, std::shared_ptr<nn::DinoNetwork> teacher,
       const DinoConfig& config, nn::Scope scope)
      : student_(std::move(student)),
        teacher_(std::move(teacher)),
        config_(config),
        scope_(scope),
        centre_(config.prototypes, config.centre_momentum) {
    for (const at::Tensor& parameter : teacher_->parameters()) parameter.set_requires_grad(false);
  }

  std::vector<Part> parts() override { return {{"student", student_}, {"teacher", teacher_, "student"}}; }

  std::vector<NamedEncoder> encoders() override {
    return {{"teacher", teacher_->backbone(), "teacher"}, {"student", student_->backbone(), "student"}};
  }

  std::vector<Buffer> buffers() override { return {{"centre", centre_.values()}}; }

  HeldParameters held_at_first() const override { return {"head.last_layer.", config_.freeze_last_layer}; }

  void begin_step(const data::Batch& /*whole*/, const Step& /*step*/) override { centre_.forget(); }

  at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    COHORT_CHECK(std::ssize(batch.views) >= kTeacherViews && batch.views[0].sizes() == batch.views[1].sizes(),
                 "DINO needs two views of one size or more, not {}", batch.views.size());
    const std::int64_t images = batch.sample.size(0);
    const at::Tensor probabilities = teach(batch, step, metrics);
    const at::Tensor logits = student_logits(batch, step).view({-1, images, config_.prototypes});
    const at::Tensor sum = cross_entropy_of_views(logits, probabilities, config_.student_temperature);
    const double entropy = at::special_entr(probabilities).sum().item<double>();
    metrics.add("teacher_entropy", entropy, kTeacherViews * images);
    metrics.add("kl", sum.item<double>() - entropy / kTeacherViews, images);
    return sum / static_cast<double>(step.global_images);
  }

  void after_step(const Step& step) override { centre_.update(step.ranks); }

  double decay(const Step& step) const override {
    return warmup_cosine(config_.teacher_momentum, 1.0, step.step + 1, step.total_steps, 0);
  }

 private:
  // Of the views first … first + views - 1 of a batch, one after the other.
  [[nodiscard]] nn::Conditions conditions(const data::Batch& batch, const Step& step, std::int64_t first,
                                          std::int64_t views, bool training) const {
    const std::int64_t all = std::ssize(batch.views);
    const at::Tensor view = at::arange(first, first + views, batch.sample.options()).unsqueeze(1);
    return {.context = batch.context.repeat({views, 1}),
            .group = batch.group.repeat({views}),
            .sample = (batch.sample * all + view).flatten(),
            .seed = step.seed,
            .step = step.step,
            .training = training,
            .scope = scope_,
            .ranks = step.ranks};
  }

  // Probabilities [2, B, K]; adds to the centre of the next step.
  at::Tensor teach(const data::Batch& batch, const Step& step, Metrics& metrics) {
    const at::NoGradGuard no_grad;
    const nn::Conditions seen = conditions(batch, step, 0, kTeacherViews, /*training=*/false);
    const at::Tensor images = at::cat({batch.views[0], batch.views[1]});
    const at::Tensor features =
        teacher_->backbone()->encode(images, seen, nn::Encoder::pooled).pooled;  // [2 B, D]
    const at::Tensor logits = teacher_->head().forward(features, step.ranks);    // [2 B, K]
    centre_.add(logits);
    const auto [deviation, groups] = deviation_in_groups(features.to(at::kFloat), seen.group);
    metrics.add("feature_std", deviation, groups);
    metrics.add("centre_norm", centre_.values().norm().item<double>(), 1);
    return teacher_probabilities(logits.view({kTeacherViews, -1, logits.size(1)}), centre_.values(),
                                 teacher_temperature(config_, step.epoch));
  }

  // [V B, K], view by view
  at::Tensor student_logits(const data::Batch& batch, const Step& step) {
    std::vector<at::Tensor> features;
    std::int64_t first = 0;
    for (const auto views : by_size(batch.views)) {
      const nn::Conditions seen = conditions(batch, step, first, std::ssize(views), /*training=*/true);
      const at::Tensor images = nn::channel_dropout(at::cat(at::TensorList(views.data(), views.size())),
                                                    config_.student_channel_drop, seen);
      features.push_back(student_->backbone()->encode(images, seen, nn::Encoder::pooled).pooled);
      first += std::ssize(views);
    }
    return student_->head().forward(at::cat(features), step.ranks);
  }

  std::shared_ptr<nn::DinoNetwork> student_, teacher_;
  DinoConfig config_;
  nn::Scope scope_;
  Centre centre_;
};

}  // namespace

nn::DinoHeadShape dino_head_shape(const DinoConfig& config, std::int64_t width) {
  return {.width = width,
          .hidden = config.hidden,
          .bottleneck = config.bottleneck,
          .prototypes = config.prototypes,
          .batch_norm = config.batch_norm,
          .norm_last_layer = config.norm_last_layer};
}

double teacher_temperature(const DinoConfig& config, std::int64_t epoch) {
  const double start = config.teacher_temperature_start, end = config.teacher_temperature;
  const std::int64_t last = config.teacher_temperature_epochs - 1;
  if (epoch > last) return end;
  if (last == 0) return start;
  return start + (end - start) * static_cast<double>(epoch) / static_cast<double>(last);
}

std::unique_ptr<Method> make_dino(std::shared_ptr<nn::DinoNetwork> student,
                                  std::shared_ptr<nn::DinoNetwork> teacher, const DinoConfig& config,
                                  nn::Scope scope) {
  return std::make_unique<Dino>(std::move(student), std::move(teacher), config, scope);
}

}  // namespace cohort::method
