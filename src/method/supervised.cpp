#include "cohort/method/supervised.h"

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
  Supervised(std::shared_ptr<nn::VisionTransformer> model, const SupervisedConfig& config, nn::Scope scope)
      : model_(std::move(model)), config_(config), scope_(scope) {
    COHORT_CHECK(model_->shape().classes > 0, "supervised training needs a model with a head");
  }

  std::vector<Part> parts() override { return {{"model", model_, model_}}; }

  // The sum over ranks travels while the model computes.
  void begin_step(const data::Batch& whole, const Step& step) override {
    COHORT_CHECK(whole.label.defined(), "supervised training needs labels");
    global_count_ = whole.label.ne(kNoLabel).sum().view(1);
    if (step.ranks != nullptr) counting_.emplace(step.ranks->all_reduce(global_count_));
  }

  at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    COHORT_CHECK(global_count_.defined() && batch.views.size() == 1,
                 "supervised training needs begin_step() first, and one view");
    const at::Tensor labelled = batch.label.ne(kNoLabel);
    const Mixing mixing{config_.mixup, config_.cutmix};
    Mixed mixed{batch.views[0], {}, {}};
    if (mixing.is_on()) mixed = mix_groups(batch.views[0], batch.group, mixing, step.seed, step.step);
    const at::Tensor logits =
        model_->forward(mixed.images, conditions(batch, step)).logits.to(at::kFloat);  // [B, classes]
    const at::Tensor correct = logits.argmax(1).eq(batch.label).logical_and_(labelled).sum();
    metrics.add("accuracy", correct.item<double>(), labelled.sum().item<std::int64_t>());
    if (counting_) counting_->wait();
    counting_.reset();
    return sum_of_losses(logits, batch.label, mixed) / global_count_[0].clamp_min(1);
  }

 private:
  /// Partners have each other and the same share, so that the shares of a label add up to 1.
  [[nodiscard]] at::Tensor sum_of_losses(const at::Tensor& logits, const at::Tensor& label,
                                         const Mixed& mixed) const {
    const auto losses = [&](const at::Tensor& of, at::Reduction::Reduction reduction) {
      return at::cross_entropy_loss(logits, of, /*weight=*/{}, reduction, kNoLabel, config_.label_smoothing);
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

  std::shared_ptr<nn::VisionTransformer> model_;
  SupervisedConfig config_;
  nn::Scope scope_;
  at::Tensor global_count_;  // [1] i64, labelled images of the step
  std::optional<comm::Work> counting_;
};

}  // namespace

std::unique_ptr<Method> make_supervised(std::shared_ptr<nn::VisionTransformer> model,
                                        const SupervisedConfig& config, nn::Scope scope) {
  return std::make_unique<Supervised>(std::move(model), config, scope);
}

}  // namespace cohort::method
