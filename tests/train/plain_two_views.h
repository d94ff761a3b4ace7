#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/augment/views.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/projection_head.h"
#include "cohort/nn/step_state.h"
#include "cohort/nn/vit.h"

#include "plain_run.h"
#include "support/options.h"

namespace cohort::train {

/// SimCLR (arXiv 2002.05709, algorithm 1), BYOL (arXiv 2006.07733, equations 1 and 2), Barlow Twins (arXiv
/// 2103.03230, algorithm 1), the spectral contrastive loss (arXiv 2106.04156, equation 6) and Matrix-SSL
/// (arXiv 2305.17326, equations 13 and 14), without clipping.
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
    if (method_ != "simclr" && method_ != "byol") head.layers = 3;
    if (method_ != "byol") head.bias = nn::HeadBias::none;
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

  [[nodiscard]] at::Tensor of_matrices(const at::Tensor& z1, const at::Tensor& z2) const {
    const double epsilon = option("epsilon");
    const auto unit = [](const at::Tensor& rows) { return rows / rows.norm(2, 1, true); };
    const auto covariance = [&](const at::Tensor& a, const at::Tensor& b) {
      const at::Tensor of_b = unit(b);
      return at::mm(unit(a).t(), of_b - of_b.mean(0)) / static_cast<double>(a.size(0));
    };
    const auto raised = [&](const at::Tensor& matrix) {
      return matrix + epsilon * at::eye(matrix.size(0), at::kDouble);
    };
    const auto log_of = [&](const at::Tensor& matrix) {
      const auto [values, vectors] = at::linalg_eigh(matrix);
      return at::mm(vectors * values.clamp_min(epsilon).log(), vectors.t());
    };
    const at::Tensor between = covariance(z1, z2), q = raised((between + between.t()) / 2);
    const auto size = static_cast<double>(between.size(0));
    const double p = 1 / size + epsilon;
    const at::Tensor uniformity = size * p * (std::log(p) - 1) - p * log_of(q).trace() + q.trace();
    const at::Tensor second = raised(covariance(z2, z2));
    const at::Tensor entropy = second.trace() - (raised(covariance(z1, z1)) * log_of(second).t()).sum();
    return (uniformity - between.trace() + option("gamma") * entropy).to(at::kFloat);
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
    if (method_ == "spectral_contrastive") {
      const double mu = option("mu");
      const auto shortened = [mu](const at::Tensor& values) {
        return values * (std::sqrt(mu) / values.norm(2, 1, true)).clamp_max(1);
      };
      const at::Tensor products = at::mm(shortened(rows[0]), shortened(rows[1]).t());
      const auto images = static_cast<double>(products.size(0));
      const at::Tensor others = products.square().sum() - products.diagonal().square().sum();
      return (others / (images * (images - 1)) - 2 * products.diagonal().mean()) / mu;
    }
    if (method_ == "matrix_ssl") return of_matrices(rows[0].to(at::kDouble), rows[1].to(at::kDouble));
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
