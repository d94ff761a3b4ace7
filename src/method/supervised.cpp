#include "cohort/method/supervised.h"

#include <optional>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

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
    const at::Tensor logits =
        model_->forward(batch.views[0], conditions(batch, step)).logits.to(at::kFloat);  // [B, classes]
    const at::Tensor correct = logits.argmax(1).eq(batch.label).logical_and_(labelled).sum();
    metrics.add("accuracy", correct.item<double>(), labelled.sum().item<std::int64_t>());
    if (counting_) counting_->wait();
    counting_.reset();
    return at::cross_entropy_loss(logits, batch.label, /*weight=*/{}, at::Reduction::Sum, kNoLabel,
                                  config_.label_smoothing) /
           global_count_[0].clamp_min(1);
  }

 private:
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
