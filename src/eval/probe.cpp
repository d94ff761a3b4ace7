#include "cohort/eval/probe.h"

#include <cmath>
#include <numbers>

#include <torch/autograd.h>
#include <torch/types.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "eval/labelled.h"

namespace cohort::eval {
namespace {

constexpr double kMomentum = 0.9;

/// What all classifiers learn from.
Labelled examples_of(const at::Tensor& features, std::span<const std::int32_t> labels) {
  Labelled examples = labelled(features, labels);
  if (examples.labels.size(0) > 0) return examples;
  throw DataError({"no training image has a label, so that there is nothing to learn", "the training split",
                   "choose another label column (data.label)"});
}

/// [outputs, inputs], normal values of deviation 1/√inputs: the same for every rate.
at::Tensor first_weights(std::int64_t outputs, std::int64_t inputs, std::uint64_t seed, std::uint32_t layer) {
  RandomStream random({.seed = seed, .purpose = Purpose::initialise, .layer = layer});
  at::Tensor weights = at::empty({outputs, inputs});
  auto* value = weights.mutable_data_ptr<float>();
  const double deviation = 1 / std::sqrt(static_cast<double>(inputs));
  for (std::int64_t i = 0; i < weights.numel(); ++i)
    value[i] = static_cast<float>(deviation * random.normal());
  return weights;
}

at::Tensor forward(const Probe& probe, const at::Tensor& standardised) {
  at::Tensor values = standardised;
  for (std::size_t i = 0; i < probe.weights.size(); ++i) {
    if (i > 0) values = at::gelu(values);
    values = at::addmm(probe.biases[i], values, probe.weights[i].t());
  }
  return values;
}

class Training {
 public:
  Training(const Labelled& examples, const ProbeConfig& config, Probe& probe)
      : examples_(examples), config_(config), probe_(probe) {
    for (std::size_t i = 0; i < probe.weights.size(); ++i) {
      for (at::Tensor* values : {&probe.weights[i], &probe.biases[i]}) {
        values->requires_grad_(true);
        parameters_.push_back(*values);
        momentum_.push_back(at::zeros_like(*values));
      }
    }
  }

  void run() {
    const std::int64_t images = examples_.labels.size(0);
    const std::int64_t batches = (images + config_.batch - 1) / config_.batch;
    for (std::int64_t epoch = 0; epoch < config_.epochs; ++epoch) {
      const at::Tensor order = at::tensor(
          permutation(images,
                      RandomStream({.seed = config_.seed, .purpose = Purpose::shuffle, .time = epoch})),
          at::kLong);
      for (std::int64_t batch = 0; batch < batches; ++batch) {
        const std::int64_t begin = batch * config_.batch;
        const double part =
            static_cast<double>(epoch * batches + batch) / static_cast<double>(config_.epochs * batches);
        step(order.narrow(0, begin, std::min(config_.batch, images - begin)),
             probe_.rate * 0.5 * (1 + std::cos(std::numbers::pi * part)));
      }
    }
    for (at::Tensor& parameter : parameters_) parameter.requires_grad_(false);
  }

 private:
  void step(const at::Tensor& rows, double rate) {
    const at::Tensor logits = forward(probe_, examples_.features.index_select(0, rows));
    const at::Tensor loss = at::cross_entropy_loss(logits, examples_.labels.index_select(0, rows), {},
                                                   at::Reduction::Mean, -100, config_.label_smoothing);
    const std::vector<at::Tensor> gradients = torch::autograd::grad({loss}, parameters_);
    const at::NoGradGuard no_gradients;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      momentum_[i].mul_(kMomentum).add_(gradients[i]);
      parameters_[i].sub_(momentum_[i], rate);
    }
  }

  const Labelled& examples_;
  const ProbeConfig& config_;
  Probe& probe_;
  std::vector<at::Tensor> parameters_, momentum_;
};

Probe new_probe(double rate, const at::Tensor& mean, const at::Tensor& scale, std::int64_t classes,
                const ProbeConfig& config) {
  Probe probe{rate, mean, scale, {}, {}};
  std::int64_t inputs = mean.size(0);
  std::vector<std::int64_t> widths{classes};
  if (config.hidden > 0) widths.insert(widths.begin(), config.hidden);
  for (const std::int64_t outputs : widths) {
    probe.weights.push_back(
        first_weights(outputs, inputs, config.seed, static_cast<std::uint32_t>(probe.weights.size())));
    probe.biases.push_back(at::zeros({outputs}));
    inputs = outputs;
  }
  return probe;
}

}  // namespace

at::Tensor Probe::logits(const at::Tensor& features) const {
  const at::NoGradGuard no_gradients;
  return forward(*this, (features - mean) * scale);
}

std::vector<Probe> train_probes(const at::Tensor& features, std::span<const std::int32_t> labels,
                                std::int64_t classes, const ProbeConfig& config, comm::Communicator& ranks) {
  COHORT_CHECK(features.size(0) == std::ssize(labels) && !config.rates.empty(), "{} features with {} labels",
               features.size(0), labels.size());
  std::vector<Probe> probes;
  comm::together(ranks, [&] {
    Labelled examples = examples_of(features, labels);
    at::Tensor mean = at::zeros({features.size(1)}), scale = at::ones({features.size(1)});
    if (config.standardise) {
      mean = examples.features.mean(0);
      scale = 1 / examples.features.std(0, false).clamp_min(1e-6);
    }
    examples.features = (examples.features - mean) * scale;
    for (std::size_t i = 0; i < config.rates.size(); ++i) {
      probes.push_back(new_probe(config.rates[i], mean, scale, classes, config));
      const bool mine = static_cast<int>(i) % ranks.size() == ranks.rank();
      if (mine) Training(examples, config, probes.back()).run();
    }
  });
  for (std::size_t i = 0; i < probes.size(); ++i) {
    const int owner = static_cast<int>(i) % ranks.size();
    for (std::size_t layer = 0; layer < probes[i].weights.size(); ++layer) {
      ranks.broadcast(probes[i].weights[layer], owner).wait();
      ranks.broadcast(probes[i].biases[layer], owner).wait();
    }
  }
  return probes;
}

}  // namespace cohort::eval
