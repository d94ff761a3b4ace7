#include "method/supervised_field.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/method/conditions.h"
#include "cohort/method/pooled.h"
#include "cohort/method/windows.h"

#include "method/mask_picture.h"

namespace cohort::method {
namespace {

/// What a task makes of outputs and the values of its field.
struct FieldTask {
  const char* answer;                      ///< what answers call the outputs
  const char* metric;                      ///< how good they are in training, in words
  at::Tensor (*known)(const at::Tensor&);  ///< bool, of the field's values
  /// Of outputs and values: how right, or wrong, each known value is, as metric says; [n] of all values.
  at::Tensor (*measure)(const at::Tensor& outputs, const at::Tensor& values);
};

at::Tensor flags_answered_rightly(const at::Tensor& logits, const at::Tensor& flags) {
  return logits.gt(0).eq(flags.eq(1));
}
at::Tensor distances(const at::Tensor& values, const at::Tensor& numbers) {
  return at::nan_to_num((values - numbers).abs());
}
at::Tensor pixels_answered_rightly(const at::Tensor& logits, const at::Tensor& mask) {
  return (logits.size(1) == 1 ? logits.select(1, 0).gt(0).to(at::kLong) : logits.argmax(1)).eq(mask);
}

const FieldTask& field_task(SupervisedTask task) {
  static constexpr FieldTask kFlags{"logits", "accuracy", known_flags, flags_answered_rightly},
      kNumbers{"values", "absolute_error", known_numbers, distances},
      kPixels{"logits", "accuracy", known_pixels, pixels_answered_rightly};
  switch (task) {
    case SupervisedTask::multilabel:
      return kFlags;
    case SupervisedTask::regression:
      return kNumbers;
    default:
      return kPixels;
  }
}

/// Losses that are sums over values, by which they are divided.
at::Tensor sum_of_losses(SupervisedTask task, SupervisedLoss loss, const at::Tensor& outputs,
                         const at::Tensor& values) {
  if (task == SupervisedTask::multilabel) return flags_cross_entropy(outputs, values);
  if (loss == SupervisedLoss::mse) return squared_errors(outputs, values);
  if (loss == SupervisedLoss::huber) return huber_errors(outputs, values);
  return loss == SupervisedLoss::bce ? pixels_binary_cross_entropy(outputs, values)
                                     : pixels_cross_entropy(outputs, values).sum();
}

/// What methods that learn a field have in common.
class FieldLearner {
 public:
  FieldLearner(const SupervisedOptions& options, const data::Field& target, const Materials& materials)
      : options_(options),
        task_(field_task(options.task)),
        network_(make_network(options, target, materials)),
        // Masks move with the first view.
        column_(options.task == SupervisedTask::segmentation ? target.name + "/0" : target.name),
        scope_(materials.scope) {}

  [[nodiscard]] std::vector<Part> parts() const { return {{"model", network_.model}}; }
  [[nodiscard]] std::vector<NamedEncoder> encoders() const { return {{"model", network_.encoder, "model"}}; }
  [[nodiscard]] const SupervisedOptions& options() const noexcept { return options_; }

  [[nodiscard]] const at::Tensor& values(const data::Batch& batch) const {
    const auto found = batch.columns.find(column_);
    COHORT_CHECK(found != batch.columns.end(), "batches have no '{}', which is learnt", column_);
    return found->second.values;
  }
  [[nodiscard]] at::Tensor count_known(const data::Batch& batch) const {
    return task_.known(values(batch)).sum().view(1);  // i64, so that sums over ranks are exact
  }

  /// Of the images of a step, and what it says of them.
  at::Tensor outputs(const data::Batch& batch, const Step& step, Metrics& metrics) {
    COHORT_CHECK(batch.views.size() == 1, "supervised training needs one view, not {}", batch.views.size());
    const at::Tensor outputs =
        network_.outputs(batch.views.front(), conditions(batch, step, scope_, 0, 1, /*training=*/true));
    const at::Tensor known = task_.known(values(batch));
    const at::Tensor measured = task_.measure(outputs.detach(), values(batch)).to(at::kDouble) * known;
    metrics.add(task_.metric, measured.sum().item<double>(), known.sum().item<std::int64_t>());
    return outputs;
  }

  Answers answer(const data::Batch& batch, const nn::Conditions& conditions) {
    const at::NoGradGuard no_gradients;
    const at::Tensor& images = batch.views.front();
    const auto outputs = [&](const at::Tensor& of) { return network_.outputs(of, conditions); };
    const std::int64_t window = options_.window;
    if (window == 0) return {{task_.answer, outputs(images)}};
    const std::int64_t stride = options_.stride > 0 ? options_.stride : std::max<std::int64_t>(window / 2, 1);
    return {{task_.answer, answer_by_windows(images, {window, window}, {stride, stride}, outputs)}};
  }

  /// Of masks alone.
  std::optional<Pictures> pictures(const data::Batch& batch, const Step& step) {
    if (options_.task != SupervisedTask::segmentation) return std::nullopt;
    const at::NoGradGuard no_gradients;
    const at::Tensor& images = batch.views.front();
    const at::Tensor logits =
        network_.outputs(images, conditions(batch, step, scope_, 0, 1, /*training=*/false));
    const at::Tensor answered =
        logits.size(1) == 1 ? logits.select(1, 0).gt(0).to(at::kLong) : logits.argmax(1);
    return Pictures{"an image, its mask, and the mask that was answered",
                    {images, mask_picture(images, values(batch)), mask_picture(images, answered)}};
  }

 private:
  SupervisedOptions options_;
  const FieldTask& task_;
  SupervisedNetwork network_;
  std::string column_;
  nn::Scope scope_;
};

/// The mean of a loss over the known values of a step; binary cross-entropy of pixels over their outputs too.
/// Metrics: "accuracy", the share of known flags or pixels that are right; "absolute_error" of numbers.
class SupervisedField final : public Method {
 public:
  explicit SupervisedField(FieldLearner learner) : learner_(std::move(learner)) {}

  std::vector<Part> parts() override { return learner_.parts(); }
  std::vector<NamedEncoder> encoders() override { return learner_.encoders(); }

  // The sum over ranks travels while the model computes, from host to host.
  void begin_step(const data::Batch& whole, const Step& step) override {
    known_ = learner_.count_known(whole);
    if (step.ranks != nullptr) counting_.emplace(step.ranks->all_reduce(known_));
  }

  at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    COHORT_CHECK(known_.defined(), "supervised training needs begin_step() first");
    const at::Tensor outputs = learner_.outputs(batch, step, metrics), &values = learner_.values(batch);
    if (counting_) counting_->wait();
    counting_.reset();
    const SupervisedOptions& options = learner_.options();
    const SupervisedLoss kind = loss_of(options);
    const bool is_pixels = options.task == SupervisedTask::segmentation;
    const std::int64_t losses_of_one = is_pixels && kind == SupervisedLoss::bce ? outputs.size(1) : 1;
    return sum_of_losses(options.task, kind, outputs, values) / (known_[0].clamp_min(1) * losses_of_one);
  }

  Answers answer(const data::Batch& batch, const nn::Conditions& conditions) override {
    return learner_.answer(batch, conditions);
  }
  std::optional<Pictures> pictures(const data::Batch& batch, const Step& step) override {
    return learner_.pictures(batch, step);
  }

 private:
  FieldLearner learner_;
  at::Tensor known_;  // [1] i64: values that are known, of all images of the step
  std::optional<comm::Work> counting_;
};

/// Dice loss, and with it cross-entropy, of all images of a step: what an image adds to their sums is its
/// row. Probabilities are those of a softmax with cross-entropy, of a logistic function without. Metric:
/// "accuracy".
class SupervisedDice final : public PooledMethod {
 public:
  explicit SupervisedDice(FieldLearner learner) : learner_(std::move(learner)) {}

  std::vector<Part> parts() override { return learner_.parts(); }
  std::vector<NamedEncoder> encoders() override { return learner_.encoders(); }

  at::Tensor embed(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    const at::Tensor logits = learner_.outputs(batch, step, metrics), &mask = learner_.values(batch);
    const at::Tensor known = known_pixels(mask);
    const at::Tensor probabilities = with_cross_entropy() ? logits.softmax(1) : logits.sigmoid();
    const at::Tensor rows =
        overlaps(probabilities, pixels_of_classes(mask, logits.size(1)), known).flatten(1);
    if (!with_cross_entropy()) return rows;  // [b, 3 K]
    const at::Tensor counts = known.flatten(1).sum(1).to(rows.options());
    return at::cat({rows, pixels_cross_entropy(logits, mask).unsqueeze(1), counts.unsqueeze(1)},
                   1);  // [b, 3 K + 2]
  }

  at::Tensor loss_of_all(const at::Tensor& rows, const Step& /*step*/, Metrics& /*metrics*/) override {
    const std::int64_t images = rows.size(0), sums = rows.size(1) / 3 * 3;
    const at::Tensor of_classes = rows.narrow(1, 0, sums).view({images, sums / 3, 3});
    const at::Tensor dice = dice_loss(of_classes, learner_.options().dice_classes);
    if (!with_cross_entropy()) return dice;
    const at::Tensor entropy = rows.narrow(1, sums, 2).to(at::kDouble).sum(0);  // of all pixels, their number
    return dice + entropy[0] / entropy[1].clamp_min(1);
  }

  Answers answer(const data::Batch& batch, const nn::Conditions& conditions) override {
    return learner_.answer(batch, conditions);
  }
  std::optional<Pictures> pictures(const data::Batch& batch, const Step& step) override {
    return learner_.pictures(batch, step);
  }

 private:
  [[nodiscard]] bool with_cross_entropy() const {
    return loss_of(learner_.options()) == SupervisedLoss::dice_cross_entropy;
  }

  FieldLearner learner_;
};

}  // namespace

std::unique_ptr<Method> make_supervised_field(const SupervisedOptions& options, const Materials& materials) {
  FieldLearner learner(options, *target_of(options, materials.description), materials);
  const SupervisedLoss loss = loss_of(options);
  if (loss == SupervisedLoss::dice || loss == SupervisedLoss::dice_cross_entropy)
    return std::make_unique<SupervisedDice>(std::move(learner));
  return std::make_unique<SupervisedField>(std::move(learner));
}

}  // namespace cohort::method
