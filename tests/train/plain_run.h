#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <numbers>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <torch/autograd.h>

#include "cohort/augment/views.h"
#include "cohort/data/batch.h"
#include "cohort/data/grouping.h"
#include "cohort/nn/vit.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// A run as its formulas read, on one process: the whole batch at once, one tensor after another, no engine,
/// no shards, no optimizer and no method of Cohort's. What it shares with a real run are the model's forward
/// pass, the sampler and the views, which have tests of their own. Everything that a checkpoint holds, by the
/// names that it has there.
class PlainRun {
 public:
  using Tensors = std::map<std::string, at::Tensor>;

  explicit PlainRun(const RunConfig& config)
      : config_(config),
        data_(data::Dataset::open(config.data.path, config.data.train_split)),
        grouping_(data::grouping_of(data_, config.context.keys.front())),
        sampler_(grouping_.runs, grouping_.values, config.sampler, config.seed) {
    (void)data_.context_runs(config.context.keys.front());
    for (const data::LabelColumn& label : data_.description().labels) (void)data_.labels(label.name);
  }
  PlainRun(const PlainRun&) = delete;
  PlainRun& operator=(const PlainRun&) = delete;
  virtual ~PlainRun() = default;

  /// Number `step`, counted from 0.
  virtual void step(std::int64_t step) = 0;

  [[nodiscard]] Tensors copy() const {
    Tensors copies;
    for (const auto& [name, tensor] : state_) copies[name] = tensor.detach().clone();
    return copies;
  }
  void go_back_to(const Tensors& copies) {
    const at::NoGradGuard no_gradients;
    for (const auto& [name, tensor] : copies) state_.at(name).copy_(tensor);
  }

 protected:
  [[nodiscard]] std::int64_t total_steps() const {
    return config_.train.max_steps > 0 ? config_.train.max_steps : config_.train.epochs * steps_per_epoch();
  }
  [[nodiscard]] std::int64_t steps_per_epoch() const { return sampler_.steps_per_epoch(); }
  [[nodiscard]] std::int64_t images() const {
    return config_.sampler.groups_per_step * config_.sampler.images_per_group;
  }

  /// From `from` to `to` by half a cosine, after `warmup` steps from 0 to `from`, both ends included.
  [[nodiscard]] double scheduled(double from, double to, std::int64_t step, std::int64_t warmup) const {
    if (step < warmup) return from * static_cast<double>(step) / static_cast<double>(warmup - 1);
    const double part = static_cast<double>(step - warmup) / static_cast<double>(total_steps() - warmup);
    return to + (from - to) * 0.5 * (1 + std::cos(std::numbers::pi * part));
  }
  [[nodiscard]] double learning_rate(std::int64_t step) const {
    const double peak = config_.optimizer.lr * static_cast<double>(images()) /
                        static_cast<double>(config_.schedule.reference_batch);
    return scheduled(peak, config_.schedule.lr_end, step, config_.schedule.warmup_epochs * steps_per_epoch());
  }
  [[nodiscard]] double weight_decay(std::int64_t step) const {
    if (config_.schedule.weight_decay_end < 0) return config_.optimizer.weight_decay;
    return scheduled(config_.optimizer.weight_decay, config_.schedule.weight_decay_end, step, 0);
  }

  [[nodiscard]] data::Batch batch(std::int64_t step, const data::ViewMaker& views) const {
    Workers workers(1);
    const std::int64_t epoch = step / steps_per_epoch();
    const data::StepPlan plan = sampler_.plan(epoch, step % steps_per_epoch());
    return data::make_batch(data_, plan, {config_.context.keys, data_.description().labels.front().name},
                            views, workers);
  }
  [[nodiscard]] const data::Description& description() const { return data_.description(); }

  [[nodiscard]] nn::VitShape shape(std::int64_t classes) const {
    const data::ImageLayout& layout = description().images;
    const auto values = std::ssize(description().context(config_.context.keys.front()).values);
    return nn::vit_shape(config_.model, config_.context, {values}, layout.channels, layout.height,
                         layout.width, classes);
  }

  /// `part`: "/model/". Moments of those that are trained, which `frozen` ones are not.
  void remember(const std::string& part, const torch::nn::Module& model, bool trained,
                const std::vector<std::string>& frozen = {}) {
    for (const auto& parameter : model.named_parameters()) {
      state_[part + parameter.key()] = parameter.value();
      if (!trained || std::find(frozen.begin(), frozen.end(), parameter.key()) != frozen.end()) continue;
      state_["/optimizer/exp_avg/" + parameter.key()] = at::zeros_like(parameter.value());
      state_["/optimizer/exp_avg_sq/" + parameter.key()] = at::zeros_like(parameter.value());
    }
    for (const auto& buffer : model.named_buffers()) state_[part + buffer.key()] = buffer.value();
  }
  void remember(const std::string& name, const at::Tensor& tensor) { state_[name] = tensor; }

  /// Number `update` of this parameter, counted from 1 (Loshchilov and Hutter, arXiv 1711.05101).
  void adamw(const std::string& name, at::Tensor parameter, const at::Tensor& gradient, double rate,
             double decay, std::int64_t update) {
    const shard::OptimizerConfig& options = config_.optimizer;
    at::Tensor mean = state_.at("/optimizer/exp_avg/" + name),
               square = state_.at("/optimizer/exp_avg_sq/" + name);
    const bool decays = parameter.dim() >= 2 && !name.ends_with(".bias");
    mean.copy_(mean * options.beta1 + gradient * (1 - options.beta1));
    square.copy_(square * options.beta2 + gradient * gradient * (1 - options.beta2));
    const auto corrected = [&](double beta) { return 1 - std::pow(beta, static_cast<double>(update)); };
    const at::Tensor root = (square / corrected(options.beta2)).sqrt() + options.epsilon;
    parameter.copy_(parameter * (1 - rate * (decays ? decay : 0.0)) -
                    mean / corrected(options.beta1) / root * rate);
  }

  RunConfig config_;

 private:
  data::Dataset data_;
  data::Grouping grouping_;
  data::ContextSampler sampler_;
  Tensors state_;
};

}  // namespace cohort::train
