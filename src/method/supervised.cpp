#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/method/conditions.h"
#include "cohort/method/mixing.h"
#include "cohort/method/registry.h"
#include "cohort/nn/encoder.h"

#include "method/supervised_boxes.h"
#include "method/supervised_field.h"

namespace cohort::method {
namespace {

constexpr std::int64_t kNoLabel = -1;

/// Cross-entropy of the class head on the cls feature. Rows without a label (-1) take part in context
/// statistics, not in the loss. Mixed images (mixing.h) have both labels, by their shares. Metrics:
/// "accuracy", of the own label. `weights` [classes]: the mean is weighted by the class of each image, as
/// PyTorch's cross-entropy does it (smoothing is spread by weights too); empty: all alike.
class Supervised final : public Method {
 public:
  Supervised(std::shared_ptr<nn::Encoder> model, const SupervisedOptions& options, nn::Scope scope,
             std::span<const double> weights)
      : model_(std::move(model)), options_(options), scope_(scope) {
    const std::int64_t classes = model_->traits().classes;
    COHORT_CHECK(classes > 0, "supervised training needs a model with a head");
    if (weights.empty()) return;
    COHORT_CHECK(std::ssize(weights) == classes, "{} weights for {} classes", weights.size(), classes);
    weights_ = at::tensor(std::vector<double>(weights.begin(), weights.end()), at::kDouble);
  }

  std::vector<Part> parts() override { return {{"model", model_}}; }
  std::vector<NamedEncoder> encoders() override { return {{"model", model_, "model"}}; }

  // The sum over ranks travels while the model computes, from host to host.
  void begin_step(const data::Batch& whole, const Step& step) override {
    COHORT_CHECK(whole.label.defined(), "supervised training needs labels");
    global_counts_ = counts_of(whole.label);
    if (step.ranks != nullptr) counting_.emplace(step.ranks->all_reduce(global_counts_));
  }

  at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    COHORT_CHECK(global_counts_.defined() && batch.views.size() == 1,
                 "supervised training needs begin_step() first, and one view");
    const at::Tensor labelled = batch.label.ne(kNoLabel);
    const Mixing mixing{options_.mixup, options_.cutmix};
    Mixed mixed{batch.views[0], {}, {}};
    if (mixing.is_on()) mixed = mix_groups(batch.views[0], batch.group, mixing, step.seed, step.step);
    const at::Tensor logits =
        model_
            ->encode(mixed.images, conditions(batch, step, scope_, 0, 1, /*training=*/true),
                     nn::Encoder::logits)
            .logits.to(at::kFloat);  // [B, classes]
    const at::Tensor correct = logits.argmax(1).eq(batch.label).logical_and_(labelled).sum();
    metrics.add("accuracy", correct.item<double>(), labelled.sum().item<std::int64_t>());
    if (counting_) counting_->wait();
    counting_.reset();
    return sum_of_losses(logits, batch.label, mixed) / weight_of_step();
  }

 private:
  /// Labelled images of each class, or of all together where classes count alike. Integers, so that sums over
  /// ranks are exact.
  [[nodiscard]] at::Tensor counts_of(const at::Tensor& label) const {
    const at::Tensor labelled = label.ne(kNoLabel);
    if (!weights_.defined()) return labelled.sum().view(1);
    return at::bincount(label.masked_select(labelled), /*weights=*/{}, model_->traits().classes);
  }

  /// What the images of the step count together; 1 without any, whose losses are 0.
  [[nodiscard]] at::Tensor weight_of_step() const {
    if (!weights_.defined()) return global_counts_[0].clamp_min(1);
    const at::Tensor weight = (global_counts_ * weights_).sum();
    return at::where(weight.gt(0), weight, at::ones_like(weight)).to(at::kFloat);
  }

  /// Partners have each other and the same share, so that the shares of a label add up to 1.
  [[nodiscard]] at::Tensor sum_of_losses(const at::Tensor& logits, const at::Tensor& label,
                                         const Mixed& mixed) const {
    const auto losses = [&](const at::Tensor& of, at::Reduction::Reduction reduction) {
      const std::optional<at::Tensor> weight =
          weights_.defined() ? std::optional(weights_.to(logits.options())) : std::nullopt;
      return at::cross_entropy_loss(logits, of, weight, reduction, kNoLabel, options_.label_smoothing);
    };
    if (!mixed.share.defined()) return losses(label, at::Reduction::Sum);
    const at::Tensor share = mixed.share.to(logits.device());
    const at::Tensor other = label.index_select(0, mixed.partner.to(label.device()));
    return (losses(label, at::Reduction::None) * share + losses(other, at::Reduction::None) * (1 - share))
        .sum();
  }

  std::shared_ptr<nn::Encoder> model_;
  SupervisedOptions options_;
  nn::Scope scope_;
  at::Tensor weights_;        // [classes] f64; undefined: all alike
  at::Tensor global_counts_;  // counts_of() all images of the step
  std::optional<comm::Work> counting_;
};

/// N / (K n_k) of the counts n_k of K classes that N images have; 0 for a class without images.
std::vector<double> balanced_weights(std::span<const std::int64_t> counts) {
  const auto images = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  std::vector<double> weights;
  for (const std::int64_t count : counts)
    weights.push_back(count == 0 ? 0.0 : images / static_cast<double>(std::ssize(counts) * count));
  return weights;
}

std::unique_ptr<Method> make_supervised(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<SupervisedOptions>(erased);
  if (options.task == SupervisedTask::detection) return make_supervised_boxes(options, materials);
  if (options.task != SupervisedTask::classification) return make_supervised_field(options, materials);
  std::vector<double> weights;
  if (options.class_weights == ClassWeights::balanced) weights = balanced_weights(materials.label_counts);
  return std::make_unique<Supervised>(materials.encoder("image", materials.classes), options, materials.scope,
                                      weights);
}

Traits traits_of_supervised(const config::Options& erased) {
  const auto& options = config::values_of<SupervisedOptions>(erased);
  if (options.task != SupervisedTask::classification)
    return {.task = config::enum_name(options.task), .is_encoder_alone = is_encoder_alone(options)};
  const bool weighs = options.class_weights == ClassWeights::balanced;
  return {.needs_label = true, .learns_classes = true, .counts_labels = weighs, .is_encoder_alone = true};
}

std::vector<std::string> fields_of_supervised(const config::Options& options,
                                              const data::Description& description) {
  const data::Field* target = target_of(config::values_of<SupervisedOptions>(options), description);
  return target == nullptr ? std::vector<std::string>() : std::vector<std::string>{target->name};
}

void check_supervised_options(const config::Options& options, const Surroundings& /*run*/,
                              const std::string& where) {
  check_supervised(config::values_of<SupervisedOptions>(options), where);
}

}  // namespace

Entry supervised() {
  return {.name = "supervised",
          .sentence = "from labels, flags, numbers, masks or boxes",
          .section = "task, head and loss",
          .options = config::default_options<SupervisedOptions>,
          .traits = traits_of_supervised,
          .make = make_supervised,
          .fields = fields_of_supervised,
          .check = check_supervised_options,
          .options_may_change = true,
          .fixed_options = SupervisedOptions::kShaping};
}

}  // namespace cohort::method
