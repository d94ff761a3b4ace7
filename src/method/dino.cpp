#include <memory>
#include <span>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/schedule.h"
#include "cohort/core/trace.h"
#include "cohort/method/conditions.h"
#include "cohort/method/dino_loss.h"
#include "cohort/method/feature_deviation.h"
#include "cohort/method/koleo.h"
#include "cohort/method/pooled.h"
#include "cohort/method/registry.h"
#include "cohort/method/sinkhorn.h"
#include "cohort/nn/dino_network.h"
#include "cohort/nn/dropout.h"
#include "cohort/nn/step_state.h"

namespace cohort::method {
namespace {

struct DinoOptions {
  std::int64_t prototypes = 65536, hidden = 2048, bottleneck = 256;
  bool norm_last_layer = true, batch_norm = false;
  std::int64_t freeze_last_layer = 1;
  double student_temperature = 0.1;
  double teacher_temperature = 0.07, teacher_temperature_start = 0.04;
  std::int64_t teacher_temperature_epochs = 30;
  double teacher_momentum = 0.996, centre_momentum = 0.9;
  double student_channel_drop = 0.0;
  Centering centering = Centering::mean;
  double koleo_weight = 0.0;
  KoleoScope koleo_scope = KoleoScope::global;

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
    visit("centering", centering,
          "what keeps one prototype from taking all: a moving mean of the teacher's logits is subtracted, or "
          "the images of a step share the prototypes evenly (sinkhorn, of DINOv2)");
    visit("koleo_weight", koleo_weight,
          "factor of KoLeo in the loss, which keeps the student's features of large views apart; 0: without",
          config::Range{0.0, 1000.0});
    visit("koleo_scope", koleo_scope,
          "among which images KoLeo looks for the nearest one: those of the step (global), of the group, or "
          "of what a rank computes at once (micro_batch, as published; depends on ranks)");
  }
};

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

/// Self-distillation without labels (Caron et al., arXiv 2104.14294; formulas and sources in
/// docs/methods.md). Parts: "student", trained, and "teacher", which follows it and is frozen; buffer:
/// "centre". Batches have two or more views, of which the first two are the teacher's; neighbours of one size
/// are computed in one forward pass. Statistics of a context go over all views of its images of one size.
/// Metrics: "teacher_entropy", "kl" (teacher against student, mean over pairs of views), "centre_norm",
/// "feature_std" (of the teacher's L2-normalised features within a group, mean over dimensions and groups: 0
/// is collapse); with KoLeo "koleo", without its weight, mean over images.
class Dino final : public Method {
 public:
  Dino(std::shared_ptr<nn::DinoNetwork> student, std::shared_ptr<nn::DinoNetwork> teacher,
       const DinoOptions& options, nn::Scope scope)
      : student_(std::move(student)),
        teacher_(std::move(teacher)),
        options_(options),
        scope_(scope),
        centre_(options.prototypes, options.centre_momentum) {}

  std::vector<Part> parts() override {
    return {{"student", student_}, {"teacher", teacher_, Part::Role::follows, "student"}};
  }

  std::vector<NamedEncoder> encoders() override {
    return {{"teacher", teacher_->backbone(), "teacher"}, {"student", student_->backbone(), "student"}};
  }

  std::vector<Buffer> buffers() override { return {{"centre", centre_.values()}}; }

  std::vector<nn::ParameterRule> rules() const override {
    return {{.pattern = "head.last_layer.*", .first_epoch = options_.freeze_last_layer}};
  }

  void begin_step(const data::Batch& /*whole*/, const Step& /*step*/) override { centre_.forget(); }

  void prepare(std::span<const data::Batch> parts, const Step& step) override {
    pooled_.clear();
    shared_centre_.reset();
    if (parts.size() < 2) return;
    const at::NoGradGuard no_gradients;
    const nn::RepeatedPass counted_later;
    if (shares_prototypes()) shared_centre_ = sinkhorn_centre(logits_of_all(parts, step), step);
    if (pools_features()) pool(features_of_all(parts, step), step);
  }

  at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    COHORT_CHECK(std::ssize(batch.views) >= kTeacherViews && batch.views[0].sizes() == batch.views[1].sizes(),
                 "DINO needs two views of one size or more, not {}", batch.views.size());
    const std::int64_t images = batch.sample.size(0);
    const at::Tensor probabilities = teach(batch, step, metrics);
    const at::Tensor features = student_features(batch, step);
    const at::Tensor logits =
        student_->head().forward(features, step.ranks).view({-1, images, options_.prototypes});
    const at::Tensor sum = cross_entropy_of_views(logits, probabilities, options_.student_temperature);
    const double entropy = at::special_entr(probabilities).sum().item<double>();
    metrics.add("teacher_entropy", entropy, kTeacherViews * images);
    metrics.add("kl", sum.item<double>() - entropy / kTeacherViews, images);
    const at::Tensor loss = sum / static_cast<double>(step.global_images);
    return options_.koleo_weight > 0 ? loss + koleo_share(features, batch, step, metrics) : loss;
  }

  void after_step(const Step& step) override {
    if (!shares_prototypes()) centre_.update(step.ranks);
  }

  double decay(const Step& step) const override {
    return warmup_cosine(options_.teacher_momentum, 1.0, step.step + 1, step.total_steps, 0);
  }

 private:
  struct Taught {
    at::Tensor features;  // [2 B, D]
    at::Tensor logits;    // [2 B, K]
    at::Tensor group;     // [2 B]
  };

  Taught run_teacher(const data::Batch& batch, const Step& step) {
    const at::NoGradGuard no_grad;
    // Statistics of batch normalisation move by what the teacher sees, as published; dropout it has none
    // then.
    const bool has_statistics = !teacher_->buffers().empty();
    const nn::Conditions seen =
        conditions(batch, step, scope_, 0, kTeacherViews, /*training=*/has_statistics);
    const at::Tensor images = at::cat({batch.views[0], batch.views[1]});
    const at::Tensor features = teacher_->backbone()->encode(images, seen, nn::Encoder::pooled).pooled;
    return {features, teacher_->head().forward(features, step.ranks), seen.group};
  }

  // Probabilities [2, B, K]; adds to the centre of the next step.
  at::Tensor teach(const data::Batch& batch, const Step& step, Metrics& metrics) {
    const at::NoGradGuard no_grad;
    const Taught taught = run_teacher(batch, step);
    const at::Tensor centre = centre_of(taught.logits, step);
    add_feature_deviation(metrics, taught.features, taught.group);
    metrics.add("centre_norm", centre.norm().item<double>(), 1);
    return teacher_probabilities(taught.logits.view({kTeacherViews, -1, taught.logits.size(1)}), centre,
                                 temperature_in(step.epoch));
  }

  // [K]: that of this step's probabilities.
  at::Tensor centre_of(const at::Tensor& logits, const Step& step) {
    if (shares_prototypes()) return shared_centre_.defined() ? shared_centre_ : sinkhorn_centre(logits, step);
    centre_.add(logits);
    return centre_.values();
  }

  at::Tensor sinkhorn_centre(const at::Tensor& logits, const Step& step) const {
    return method::sinkhorn_centre(logits, temperature_in(step.epoch), step.ranks);
  }

  at::Tensor logits_of_all(std::span<const data::Batch> parts, const Step& step) {
    const TraceSpan span(TraceKind::forward, "logits of all");
    std::vector<at::Tensor> logits;
    for (const data::Batch& part : parts) logits.push_back(run_teacher(part, step).logits);
    return at::cat(logits);
  }

  // [B, kTeacherViews, D]
  at::Tensor features_of_all(std::span<const data::Batch> parts, const Step& step) {
    const TraceSpan span(TraceKind::forward, "features of all");
    std::vector<at::Tensor> rows;
    for (const data::Batch& part : parts)
      rows.push_back(rows_of_large(encode_student(part, by_size(part.views).front(), 0, step), part));
    return at::cat(rows);
  }

  // [v B, D] of v neighbouring views, of which `first` is the number of the first.
  at::Tensor encode_student(const data::Batch& batch, std::span<const at::Tensor> views, std::int64_t first,
                            const Step& step) {
    const nn::Conditions seen = conditions(batch, step, scope_, first, std::ssize(views), /*training=*/true);
    const at::Tensor images = nn::channel_dropout(at::cat(at::TensorList(views.data(), views.size())),
                                                  options_.student_channel_drop, seen);
    return student_->backbone()->encode(images, seen, nn::Encoder::pooled).pooled;
  }

  // [V B, D], view by view
  at::Tensor student_features(const data::Batch& batch, const Step& step) {
    std::vector<at::Tensor> features;
    std::int64_t first = 0;
    for (const auto views : by_size(batch.views)) {
      features.push_back(encode_student(batch, views, first, step));
      first += std::ssize(views);
    }
    return at::cat(features);
  }

  [[nodiscard]] bool shares_prototypes() const { return options_.centering == Centering::sinkhorn; }
  [[nodiscard]] bool pools_features() const {
    return options_.koleo_weight > 0 && options_.koleo_scope == KoleoScope::global;
  }

  // [B, kTeacherViews, D] of features that begin with those of the large views.
  static at::Tensor rows_of_large(const at::Tensor& features, const data::Batch& batch) {
    const std::int64_t images = batch.sample.size(0);
    return features.narrow(0, 0, kTeacherViews * images)
        .view({kTeacherViews, images, features.size(1)})
        .transpose(0, 1)
        .to(at::kFloat);
  }

  void pool(const at::Tensor& rows, const Step& step) {
    pooled_.pool(rows, step.ranks, [&](const at::Tensor& all, Metrics& metrics) {
      const at::Tensor value = koleo_sum(all.transpose(0, 1)) / static_cast<double>(all.size(0));
      metrics.add("koleo", value.item<double>(), 1);
      return options_.koleo_weight * value;
    });
  }

  at::Tensor koleo_share(const at::Tensor& features, const data::Batch& batch, const Step& step,
                         Metrics& metrics) {
    const at::Tensor rows = rows_of_large(features, batch);
    if (!pools_features()) return koleo_of_part(rows, batch, step, metrics);
    if (pooled_.is_empty()) pool(rows, step);
    return pooled_.share(rows, metrics);
  }

  at::Tensor koleo_of_part(const at::Tensor& rows, const data::Batch& batch, const Step& step,
                           Metrics& metrics) const {
    const bool in_groups = options_.koleo_scope == KoleoScope::group;
    const at::Tensor sum = koleo_sum(rows.transpose(0, 1), in_groups ? batch.group : at::Tensor());
    metrics.add("koleo", sum.item<double>(), rows.size(0));
    return sum * (options_.koleo_weight / static_cast<double>(step.global_images));
  }

  [[nodiscard]] double temperature_in(std::int64_t epoch) const {
    return teacher_temperature(options_.teacher_temperature_start, options_.teacher_temperature,
                               options_.teacher_temperature_epochs, epoch);
  }

  std::shared_ptr<nn::DinoNetwork> student_, teacher_;
  DinoOptions options_;
  nn::Scope scope_;
  Centre centre_;             // zeros where images share the prototypes
  at::Tensor shared_centre_;  // [K] of a step of several parts, whose images share them
  RowsOfAll pooled_;          // features of the large views, of KoLeo over all images of a step
};

std::shared_ptr<nn::DinoNetwork> make_network(const DinoOptions& options, const Materials& materials) {
  const auto encoder = materials.encoder("image", /*classes=*/0);
  const nn::DinoHeadShape head{.width = encoder->traits().width,
                               .hidden = options.hidden,
                               .bottleneck = options.bottleneck,
                               .prototypes = options.prototypes,
                               .batch_norm = options.batch_norm,
                               .norm_last_layer = options.norm_last_layer};
  return std::make_shared<nn::DinoNetwork>(encoder, head);
}

std::unique_ptr<Method> make_dino(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<DinoOptions>(erased);
  const auto student = make_network(options, materials), teacher = make_network(options, materials);
  return std::make_unique<Dino>(student, teacher, options, materials.scope);
}

void check_koleo(const DinoOptions& options, const Surroundings& run, const std::string& where) {
  if (options.koleo_weight == 0 || options.koleo_scope == KoleoScope::global || run.images_per_group > 1)
    return;
  throw UsageError({fmt::format("dino.koleo_scope={} needs two images of a group or more",
                                config::enum_name(options.koleo_scope)),
                    where, "set sampler.images_per_group=2 or more, or dino.koleo_scope=global"});
}

void check_dino(const config::Options& erased, const Surroundings& run, const std::string& where) {
  const auto& options = config::values_of<DinoOptions>(erased);
  check_koleo(options, run, where);
  if (options.batch_norm && run.divides_steps()) {
    throw UsageError(
        {fmt::format("dino.batch_norm needs all images of a step at once, but {}", run.why_divided()), where,
         "set dino.batch_norm=false"});
  }
  if (run.channel_sampling) {
    throw UsageError({"model.channel_sampling and method=dino do not go together", where,
                      "set model.channel_sampling=false; dino.student_channel_drop drops single channels"});
  }
}

}  // namespace

Entry dino() {
  return {
      .name = "dino",
      .sentence = "by self-distillation without labels",
      .section = "head, teacher and loss",
      .options = config::default_options<DinoOptions>,
      .traits = [](const config::Options&) { return Traits{.views = kTeacherViews, .takes_crops = true}; },
      .make = make_dino,
      .check = check_dino};
}

}  // namespace cohort::method
