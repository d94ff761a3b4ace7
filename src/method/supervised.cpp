#include "cohort/method/supervised.h"

#include <array>
#include <numeric>
#include <optional>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/method/mixing.h"

namespace cohort::method {
namespace {

constexpr std::int64_t kNoLabel = -1;

class Supervised final : public Method {
 public:
  Supervised(std::shared_ptr<nn::Encoder> model, const SupervisedConfig& config, nn::Scope scope,
             std::span<const double> weights)
      : model_(std::move(model)), config_(config), scope_(scope) {
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
    const Mixing mixing{config_.mixup, config_.cutmix};
    Mixed mixed{batch.views[0], {}, {}};
    if (mixing.is_on()) mixed = mix_groups(batch.views[0], batch.group, mixing, step.seed, step.step);
    const at::Tensor logits = model_->encode(mixed.images, conditions(batch, step), nn::Encoder::logits)
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
      return at::cross_entropy_loss(logits, of, weight, reduction, kNoLabel, config_.label_smoothing);
    };
    if (!mixed.share.defined()) return losses(label, at::Reduction::Sum);
    const at::Tensor share = mixed.share.to(logits.device());
    const at::Tensor other = label.index_select(0, mixed.partner.to(label.device()));
    return (losses(label, at::Reduction::None) * share + losses(other, at::Reduction::None) * (1 - share))
        .sum();
  }

  [[nodiscard]] nn::Conditions conditions(const data::Batch& batch, const Step& step) const {
    return {.context = batch.context,
            .group = batch.group,
            .sample = batch.sample,
            .seed = step.seed,
            .step = step.step,
            .training = true,
            .scope = scope_,
            .ranks = step.ranks};
  }

  std::shared_ptr<nn::Encoder> model_;
  SupervisedConfig config_;
  nn::Scope scope_;
  at::Tensor weights_;        // [classes] f64; undefined: all alike
  at::Tensor global_counts_;  // counts_of() all images of the step
  std::optional<comm::Work> counting_;
};

}  // namespace

std::span<const config::EnumName<ClassWeights>> enum_names(ClassWeights) {
  static constexpr std::array<config::EnumName<ClassWeights>, 2> kNames{
      {{ClassWeights::none, "none"}, {ClassWeights::balanced, "balanced"}}};
  return kNames;
}

std::vector<double> balanced_weights(std::span<const std::int64_t> counts) {
  const auto images = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  std::vector<double> weights;
  for (const std::int64_t count : counts)
    weights.push_back(count == 0 ? 0.0 : images / static_cast<double>(std::ssize(counts) * count));
  return weights;
}

std::unique_ptr<Method> make_supervised(std::shared_ptr<nn::Encoder> model, const SupervisedConfig& config,
                                        nn::Scope scope, std::span<const double> weights) {
  return std::make_unique<Supervised>(std::move(model), config, scope, weights);
}

}  // namespace cohort::method
