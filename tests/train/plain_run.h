#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <numbers>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <torch/autograd.h>

#include "cohort/augment/views.h"
#include "cohort/data/batch.h"
#include "cohort/data/grouping.h"
#include "cohort/nn/dino_network.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/masked_autoencoder.h"
#include "cohort/nn/projection_head.h"
#include "cohort/nn/vit.h"
#include "cohort/train/run_config.h"

#include "support/options.h"

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

/// Cross-entropy with label smoothing; all gradients clipped together.
class PlainSupervised final : public PlainRun {
 public:
  explicit PlainSupervised(const RunConfig& config)
      : PlainRun(config), model_(shape(std::ssize(description().labels.front().classes)), config.seed) {
    remember("/model/", model_, true);
  }

  void step(std::int64_t step) override {
    const auto views =
        augment::training_view(config_.augment.whole, description(), config_.data.normalisation, config_.seed,
                               step / steps_per_epoch());
    const data::Batch batch = this->batch(step, *views);
    const at::Tensor log_probability =
        model_
            .encode(batch.views[0],
                    {.context = batch.context,
                     .group = batch.group,
                     .sample = batch.sample,
                     .seed = config_.seed,
                     .step = step,
                     .training = true},
                    nn::Encoder::pooled | nn::Encoder::tokens | nn::Encoder::logits)
            .logits.log_softmax(1);
    const double smoothing = testing::number_of(config_, "supervised.label_smoothing");
    const at::Tensor losses =
        log_probability.gather(1, batch.label.unsqueeze(1)).squeeze(1) * (smoothing - 1) -
        log_probability.mean(1) * smoothing;
    model_.zero_grad();
    losses.mean().backward();
    update(step);
  }

 private:
  void update(std::int64_t step) {
    const at::NoGradGuard no_gradients;
    double squares = 0;
    for (const at::Tensor& parameter : model_.parameters()) {
      const at::Tensor& gradient = parameter.grad();
      if (gradient.defined()) squares += gradient.to(at::kDouble).square().sum().item<double>();
    }
    const double clip = config_.optimizer.clip_norm,
                 factor = clip > 0 ? std::min(1.0, clip / (std::sqrt(squares) + 1e-6)) : 1.0;
    for (const auto& parameter : model_.named_parameters()) {
      const std::string& name = parameter.key();
      const at::Tensor gradient = parameter.value().grad().defined() ? parameter.value().grad() * factor
                                                                     : at::zeros_like(parameter.value());
      const double depth = static_cast<double>(model_.shape().depth + 1 - layer_of(name));
      adamw(name, parameter.value(), gradient,
            learning_rate(step) * std::pow(config_.optimizer.layer_decay, depth), weight_decay(step),
            step + 1);
    }
  }
  [[nodiscard]] std::int64_t layer_of(const std::string& name) const {
    if (name.starts_with("blocks.")) return name[7] - '0' + 1;
    return name.starts_with("norm.") || name.starts_with("head.") ? model_.shape().depth + 1 : 0;
  }

  nn::VisionTransformer model_;
};

/// Self-distillation (arXiv 2104.14294, algorithm 1 and appendix A): every gradient clipped by itself, the
/// last layer of the head held for the first epochs, a teacher that follows, and a centre.
class PlainDino final : public PlainRun {
 public:
  explicit PlainDino(const RunConfig& config)
      : PlainRun(config),
        student_(network()),
        teacher_(network()),
        centre_(at::zeros({count_of("prototypes")})) {
    remember("/student/", *student_, true);
    remember("/teacher/", *teacher_, false);
    remember("/method/centre", centre_);
  }

  void step(std::int64_t step) override {
    const data::Batch batch = this->batch(step, *views(step / steps_per_epoch()));
    const std::vector<at::Tensor> targets = taught(batch, step), answers = learnt(batch, step);
    at::Tensor loss = at::zeros({});
    double pairs = 0;
    for (std::size_t t = 0; t < 2; ++t) {
      for (std::size_t s = 0; s < answers.size(); ++s) {
        if (s == t) continue;
        loss = loss - (targets[t] * answers[s]).sum(1).mean();
        ++pairs;
      }
    }
    student_->zero_grad();
    (loss / pairs).backward();
    update(step);
    follow(step);
  }

 private:
  [[nodiscard]] double option(const std::string& key) const {
    return testing::number_of(config_, "dino." + key);
  }
  [[nodiscard]] std::int64_t count_of(const std::string& key) const {
    return static_cast<std::int64_t>(option(key));
  }

  [[nodiscard]] std::shared_ptr<nn::DinoNetwork> network() const {
    const auto backbone = std::make_shared<nn::VisionTransformer>(shape(0), config_.seed);
    auto network =
        std::make_shared<nn::DinoNetwork>(backbone, nn::DinoHeadShape{.width = backbone->shape().embed_dim,
                                                                      .hidden = count_of("hidden"),
                                                                      .bottleneck = count_of("bottleneck"),
                                                                      .prototypes = count_of("prototypes")});
    nn::initialise(*network, config_.seed);
    return network;
  }

  [[nodiscard]] std::unique_ptr<data::ViewMaker> views(std::int64_t epoch) const {
    return augment::training_views(config_.augment, description(), config_.data.normalisation, config_.seed,
                                   epoch);
  }

  /// Logits of views `first` … of one size, view by view.
  at::Tensor logits(nn::DinoNetwork& network, const data::Batch& batch, std::int64_t first,
                    std::int64_t count, std::int64_t step, bool training) const {
    std::vector<at::Tensor> images, context, group, sample;
    for (std::int64_t view = first; view < first + count; ++view) {
      images.push_back(batch.views[static_cast<std::size_t>(view)]);
      context.push_back(batch.context);
      group.push_back(batch.group);
      sample.push_back(batch.sample * std::ssize(batch.views) + view);
    }
    const auto output = network.backbone()->encode(at::cat(images),
                                                   {.context = at::cat(context),
                                                    .group = at::cat(group),
                                                    .sample = at::cat(sample),
                                                    .seed = config_.seed,
                                                    .step = step,
                                                    .training = training},
                                                   nn::Encoder::pooled | nn::Encoder::tokens);
    return network.head().forward(output.pooled, nullptr);
  }

  /// Probabilities of the two large views; what the centre learns of them.
  std::vector<at::Tensor> taught(const data::Batch& batch, std::int64_t step) {
    const at::NoGradGuard no_gradients;
    const at::Tensor all = logits(*teacher_, batch, 0, 2, step, false);
    seen_ = all.mean(0);
    const auto epoch = static_cast<double>(step / steps_per_epoch()),
               last = option("teacher_temperature_epochs") - 1;
    const double temperature =
        option("teacher_temperature_start") +
        (option("teacher_temperature") - option("teacher_temperature_start")) * std::min(1.0, epoch / last);
    return ((all - centre_) / temperature).softmax(1).chunk(2);
  }

  /// Log-probabilities of all views.
  std::vector<at::Tensor> learnt(const data::Batch& batch, std::int64_t step) {
    const std::int64_t small = std::ssize(batch.views) - 2;
    std::vector<at::Tensor> answers;
    for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{0, 2}, {2, small}}) {
      if (count == 0) continue;
      const at::Tensor all = logits(*student_, batch, first, count, step, true);
      for (const at::Tensor& view : (all / option("student_temperature")).log_softmax(1).chunk(count))
        answers.push_back(view);
    }
    return answers;
  }

  void update(std::int64_t step) {
    const at::NoGradGuard no_gradients;
    const std::int64_t held = count_of("freeze_last_layer") * steps_per_epoch();
    for (const auto& parameter : student_->named_parameters()) {
      const bool is_last_layer = parameter.key().starts_with("head.last_layer.");
      if (is_last_layer && step < held) continue;
      const at::Tensor& gradient = parameter.value().grad();
      const double norm = gradient.norm().item<double>();
      adamw(parameter.key(), parameter.value(),
            gradient * std::min(1.0, config_.optimizer.clip_norm / (norm + 1e-6)), learning_rate(step),
            weight_decay(step), is_last_layer ? step + 1 - held : step + 1);
    }
  }

  void follow(std::int64_t step) {
    const at::NoGradGuard no_gradients;
    const double keep = scheduled(option("teacher_momentum"), 1.0, step + 1, 0);
    auto followed = student_->named_parameters();
    for (auto& parameter : teacher_->named_parameters())
      parameter.value().copy_(parameter.value() * keep + followed[parameter.key()] * (1 - keep));
    const double momentum = option("centre_momentum");
    centre_.copy_(centre_ * momentum + seen_ * (1 - momentum));
  }

  std::shared_ptr<nn::DinoNetwork> student_, teacher_;
  at::Tensor centre_, seen_;
};

/// Masked autoencoding (arXiv 2111.06377, section 3, and the published code), without clipping.
class PlainMae final : public PlainRun {
 public:
  explicit PlainMae(const RunConfig& config)
      : PlainRun(config),
        model_(std::make_shared<nn::VisionTransformer>(shape(0), config.seed),
               {count_of("decoder_width"), count_of("decoder_depth"), count_of("decoder_heads")}) {
    nn::initialise(model_, config.seed);
    remember("/model/", model_, true, {kTable});
  }

  void step(std::int64_t step) override {
    const auto views =
        augment::training_view(config_.augment.whole, description(), config_.data.normalisation, config_.seed,
                               step / steps_per_epoch());
    const data::Batch batch = this->batch(step, *views);
    const at::Tensor& images = batch.views[0];
    const nn::Masking masking = masking_of(batch, step);
    const at::Tensor predicted = model_.forward(images, masking,
                                                {.context = batch.context,
                                                 .group = batch.group,
                                                 .sample = batch.sample,
                                                 .seed = config_.seed,
                                                 .step = step,
                                                 .training = true});
    // Unfolding has a patch's values channel by channel; MAE has them pixel by pixel.
    const std::int64_t patch = config_.model.patch_size, channels = images.size(1);
    at::Tensor target = at::im2col(images, {patch, patch}, {1, 1}, {0, 0}, {patch, patch}).transpose(1, 2);
    target = target.unflatten(2, {channels, patch * patch}).transpose(2, 3).flatten(2);
    const at::Tensor centred = target - target.mean(2, true);
    const auto values = static_cast<double>(target.size(2));
    target = centred / (centred.square().sum(2, true) / (values - 1) + 1e-6).sqrt();
    const at::Tensor errors = (predicted - target).square().sum(2) / values;
    model_.zero_grad();
    errors.masked_select(masking.mask.gt(0)).mean().backward();
    update(step);
  }

 private:
  static constexpr const char* kTable = "backbone.pos_embed";

  [[nodiscard]] std::int64_t count_of(const std::string& key) const {
    return static_cast<std::int64_t>(testing::number_of(config_, "mae." + key));
  }

  /// The patches of an image by their numbers, smallest first; a quarter of them is kept.
  [[nodiscard]] nn::Masking masking_of(const data::Batch& batch, std::int64_t step) const {
    const std::int64_t patches = model_.backbone()->table_grid().count(), kept = patches / 4;
    nn::Masking masking{{}, {}, at::ones({batch.sample.size(0), patches})};
    std::vector<at::Tensor> orders;
    for (std::int64_t i = 0; i < batch.sample.size(0); ++i) {
      RandomStream stream(
          {config_.seed, Purpose::masking, step, batch.sample[i].item<std::int64_t>(), /*layer=*/0});
      std::vector<float> uniform(static_cast<std::size_t>(patches));
      for (float& value : uniform) value = stream.uniform();
      orders.push_back(at::argsort(at::tensor(uniform)));
      masking.mask[i].index_fill_(0, orders.back().narrow(0, 0, kept), 0);
    }
    const at::Tensor order = at::stack(orders);
    masking.kept = order.narrow(1, 0, kept);
    masking.restore = at::argsort(order);
    return masking;
  }

  void update(std::int64_t step) {
    const at::NoGradGuard no_gradients;
    for (const auto& parameter : model_.named_parameters()) {
      if (parameter.key() == kTable) continue;
      const at::Tensor& gradient = parameter.value().grad();
      adamw(parameter.key(), parameter.value(),
            gradient.defined() ? gradient : at::zeros_like(parameter.value()), learning_rate(step),
            weight_decay(step), step + 1);
    }
  }

  nn::MaskedAutoencoder model_;
};

/// SimCLR (arXiv 2002.05709, algorithm 1), BYOL (arXiv 2006.07733, equations 1 and 2) and Barlow Twins (arXiv
/// 2103.03230, algorithm 1), without clipping.
class PlainTwoViews final : public PlainRun {
 public:
  explicit PlainTwoViews(const RunConfig& config)
      : PlainRun(config), method_(config.method.name()), model_(network(method_ == "byol")) {
    if (method_ == "byol") target_ = network(false);
    remember(target_ ? "/online/" : "/model/", *model_, true);
    if (target_) remember("/target/", *target_, false);
  }

  void step(std::int64_t step) override {
    const auto views = augment::training_views(config_.augment, description(), config_.data.normalisation,
                                               config_.seed, step / steps_per_epoch());
    const data::Batch batch = this->batch(step, *views);
    const std::vector<at::Tensor> rows = both(*model_, batch, step);
    model_->zero_grad();
    loss(rows, taught(batch, step)).backward();
    update(step);
    move_statistics(*model_);
    if (target_) follow(step);
  }

 private:
  [[nodiscard]] double option(const std::string& key) const {
    return testing::number_of(config_, method_ + "." + key);
  }

  [[nodiscard]] std::shared_ptr<nn::ProjectedEncoder> network(bool predicts) const {
    nn::ProjectionHeadShape head{.hidden = static_cast<std::int64_t>(option("hidden")),
                                 .outputs = static_cast<std::int64_t>(option("outputs"))};
    if (method_ == "barlow_twins") head.layers = 3;
    if (method_ != "byol") head.bias = false;
    auto network = std::make_shared<nn::ProjectedEncoder>(
        std::make_shared<nn::VisionTransformer>(shape(0), config_.seed), head,
        predicts ? std::optional(head) : std::nullopt);
    nn::initialise(*network, config_.seed);
    return network;
  }

  /// Rows of views `first` …, computed together.
  at::Tensor rows_of(nn::ProjectedEncoder& network, const data::Batch& batch, std::size_t first,
                     std::size_t count, std::int64_t step) const {
    std::vector<at::Tensor> images, context, group, sample;
    for (std::size_t view = first; view < first + count; ++view) {
      images.push_back(batch.views[view]);
      context.push_back(batch.context);
      group.push_back(batch.group);
      sample.push_back(batch.sample * 2 + static_cast<std::int64_t>(view));
    }
    nn::Conditions conditions{.context = at::cat(context),
                              .group = at::cat(group),
                              .sample = at::cat(sample),
                              .seed = config_.seed,
                              .step = step};
    conditions.pass = static_cast<std::int64_t>(first);
    conditions.training = true;
    return network.forward(at::cat(images), conditions).rows;
  }

  std::vector<at::Tensor> both(nn::ProjectedEncoder& network, const data::Batch& batch,
                               std::int64_t step) const {
    if (method_ == "simclr") return rows_of(network, batch, 0, 2, step).chunk(2);
    return {rows_of(network, batch, 0, 1, step), rows_of(network, batch, 1, 1, step)};
  }

  std::vector<at::Tensor> taught(const data::Batch& batch, std::int64_t step) {
    if (!target_) return {};
    const at::NoGradGuard no_gradients;
    std::vector<at::Tensor> rows = both(*target_, batch, step);
    move_statistics(*target_);
    return rows;
  }

  static at::Tensor cosines(const at::Tensor& a, const at::Tensor& b) {
    return at::mm(a / a.norm(2, 1, true), (b / b.norm(2, 1, true)).t());
  }

  [[nodiscard]] at::Tensor loss(const std::vector<at::Tensor>& rows,
                                const std::vector<at::Tensor>& targets) const {
    if (method_ == "byol")
      return 4 -
             2 * (cosines(rows[0], targets[1]).diagonal() + cosines(rows[1], targets[0]).diagonal()).mean();
    if (method_ == "simclr") {
      const at::Tensor all = at::cat(rows), similar = (cosines(all, all) / option("temperature")).exp();
      const at::Tensor others = similar.sum(1) - similar.diagonal();
      const at::Tensor own = (cosines(rows[0], rows[1]) / option("temperature")).diagonal().repeat({2});
      return (others.log() - own).mean();
    }
    const auto standard = [](const at::Tensor& values) {
      return (values - values.mean(0)) / (values.var(0, /*unbiased=*/false) + 1e-5).sqrt();
    };
    const at::Tensor correlation =
        at::mm(standard(rows[0]).t(), standard(rows[1])) / static_cast<double>(rows[0].size(0));
    const at::Tensor one = at::eye(correlation.size(0));
    return ((1 - correlation) * one).square().sum() +
           (correlation * (1 - one)).square().sum() * option("lambda");
  }

  void update(std::int64_t step) {
    const at::NoGradGuard no_gradients;
    for (const auto& parameter : model_->named_parameters()) {
      const at::Tensor& gradient = parameter.value().grad();
      adamw(parameter.key(), parameter.value(),
            gradient.defined() ? gradient : at::zeros_like(parameter.value()), learning_rate(step),
            weight_decay(step), step + 1);
    }
  }

  static void move_statistics(torch::nn::Module& network) {
    for (const auto& module : network.modules(/*include_self=*/false)) {
      if (auto* state = dynamic_cast<nn::StepState*>(module.get())) state->finish_step();
    }
  }

  void follow(std::int64_t step) {
    const at::NoGradGuard no_gradients;
    const double keep = scheduled(option("momentum"), 1.0, step, 0);
    auto followed = model_->named_parameters();
    for (auto& parameter : target_->named_parameters())
      parameter.value().copy_(parameter.value() * keep + followed[parameter.key()] * (1 - keep));
  }

  std::string method_;
  std::shared_ptr<nn::ProjectedEncoder> model_, target_;  // no target: null
};

}  // namespace cohort::train
