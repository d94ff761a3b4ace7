#include "cohort/eval/probe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "eval/labelled.h"

namespace cohort::eval {
namespace {

constexpr double kMomentum = 0.9;
constexpr std::int64_t kExamples = 8192;  // in fp64 at once

/// The images that have a label, by number: where an order of them finds them.
class Examples {
 public:
  /// Collective. Throws DataError: there are none; UsageError: too many.
  Examples(const LabelledRows& all, comm::Communicator& ranks)
      : features_(all.features), places_(all.features.rows(), 2, ranks, at::kInt) {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();  // as places are stored
    if (features_.rows() > kMost) {
      throw UsageError({fmt::format("the training split has {} images, a probe learns from {} at most",
                                    features_.rows(), kMost),
                        "--train-split", "learn from a split with fewer images"});
    }
    for (std::int64_t first = 0; first < features_.rows(); first += kBlock)
      comm::together(ranks,
                     [&] { add_block(all.labels, first, first / kBlock % ranks.size() == ranks.rank()); });
    if (count_ > 0) return;
    throw DataError({"no training image has a label, so that there is nothing to learn", "the training split",
                     "choose another label column (data.label)"});
  }

  [[nodiscard]] std::int64_t count() const noexcept { return count_; }
  /// Collective. Those with the numbers `numbers` [n] i64.
  [[nodiscard]] Labelled gather(const at::Tensor& numbers) const {
    const at::Tensor places = places_.gather(numbers).to(at::kLong);
    const at::Tensor rows = places.select(1, 0).contiguous();
    return {features_.gather(rows), places.select(1, 1).contiguous(), rows};
  }

 private:
  static constexpr std::int64_t kBlock = 8192;

  /// `is_mine`: this rank writes their places.
  void add_block(const LabelsOf& labels, std::int64_t first, bool is_mine) {
    std::vector<std::int32_t> places;  // row and label of each
    std::int64_t row = first;
    for (const std::int32_t label : labels(first, std::min(kBlock, features_.rows() - first))) {
      if (label >= 0) places.insert(places.end(), {static_cast<std::int32_t>(row), label});
      ++row;
    }
    const std::int64_t found = std::ssize(places) / 2;
    if (is_mine && found > 0)
      places_.write(at::arange(count_, count_ + found), at::tensor(places, at::kInt).view({found, 2}));
    count_ += found;
  }

  const StoredRows& features_;
  StoredRows places_;  // [count_, 2]: row, label
  std::int64_t count_ = 0;
};

/// Of features: they become (x - mean) · scale.
struct Standard {
  at::Tensor mean, scale;  // [D] f32
};

/// Collective. Calls use(features) for all images with a label, some at a time, in fp64.
template <class Use>
void for_examples(const LabelledRows& all, comm::Communicator& ranks, const Use& use) {
  LabelledBlocks blocks(all, kExamples, ranks);
  for (Labelled block = blocks.next(); block.rows.numel() > 0; block = blocks.next())
    use(block.features.to(at::kDouble));
}

/// Collective. Mean 0 and deviation 1 over `count` images.
Standard standard_of(const LabelledRows& all, std::int64_t count, comm::Communicator& ranks) {
  const std::int64_t width = all.features.width();
  at::Tensor sum = at::zeros({width}, at::kDouble), squares = at::zeros({width}, at::kDouble);
  for_examples(all, ranks, [&](const at::Tensor& features) { sum.add_(features.sum(0)); });
  const at::Tensor mean = sum / static_cast<double>(count);
  for_examples(all, ranks,
               [&](const at::Tensor& features) { squares.add_((features - mean).square_().sum(0)); });
  const at::Tensor deviation = (squares / static_cast<double>(count)).sqrt().to(at::kFloat);
  return {mean.to(at::kFloat), 1 / deviation.clamp_min(1e-6)};
}

/// The order of an epoch: a table where it is small, computed where it is not.
class Order {
 public:
  Order(std::int64_t count, const RandomStream& random) : computed_(count, random) {
    constexpr std::int64_t kMostInTable = std::int64_t{1} << 20;
    if (count <= kMostInTable) table_ = permutation(count, random);
  }
  /// Numbers at places `first` … `first` + `count` - 1.
  [[nodiscard]] at::Tensor part(std::int64_t first, std::int64_t count) const {
    at::Tensor numbers = at::empty({count}, at::kLong);
    auto* const number = numbers.mutable_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < count; ++i)
      number[i] = table_.empty() ? computed_(first + i) : table_[static_cast<std::size_t>(first + i)];
    return numbers;
  }

 private:
  std::vector<std::int64_t> table_;
  Permutation computed_;
};

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
  Training(const ProbeConfig& config, Probe& probe) : config_(config), probe_(probe) {
    for (std::size_t i = 0; i < probe.weights.size(); ++i) {
      for (at::Tensor* values : {&probe.weights[i], &probe.biases[i]}) {
        values->requires_grad_(true);
        parameters_.push_back(*values);
        momentum_.push_back(at::zeros_like(*values));
      }
    }
  }

  /// `part`: of the whole training that is done.
  void step(const at::Tensor& features, const at::Tensor& labels, double part) {
    const double rate = probe_.rate * 0.5 * (1 + std::cos(std::numbers::pi * part));
    const at::Tensor loss = at::cross_entropy_loss(forward(probe_, features), labels, {}, at::Reduction::Mean,
                                                   -100, config_.label_smoothing);
    const std::vector<at::Tensor> gradients = torch::autograd::grad({loss}, parameters_);
    const at::NoGradGuard no_gradients;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      momentum_[i].mul_(kMomentum).add_(gradients[i]);
      parameters_[i].sub_(momentum_[i], rate);
    }
  }
  void end() {
    for (at::Tensor& parameter : parameters_) parameter.requires_grad_(false);
  }

 private:
  const ProbeConfig& config_;
  Probe& probe_;
  std::vector<at::Tensor> parameters_, momentum_;
};

/// Collective. The same batches for all of this rank's classifiers.
void train_all(std::vector<Training>& mine, const Examples& examples, const Standard& standard,
               const ProbeConfig& config, comm::Communicator& ranks) {
  const std::int64_t images = examples.count(), batches = (images + config.batch - 1) / config.batch;
  for (std::int64_t epoch = 0; epoch < config.epochs; ++epoch) {
    const Order order(images,
                      RandomStream({.seed = config.seed, .purpose = Purpose::shuffle, .time = epoch}));
    for (std::int64_t batch = 0; batch < batches; ++batch) {
      const std::int64_t begin = batch * config.batch;
      const Labelled chosen = examples.gather(order.part(begin, std::min(config.batch, images - begin)));
      const double part =
          static_cast<double>(epoch * batches + batch) / static_cast<double>(config.epochs * batches);
      comm::together(ranks, [&] {
        const at::Tensor features = (chosen.features - standard.mean) * standard.scale;
        for (Training& training : mine) training.step(features, chosen.labels, part);
      });
    }
  }
  for (Training& training : mine) training.end();
}

Probe new_probe(double rate, const Standard& standard, std::int64_t classes, const ProbeConfig& config) {
  Probe probe{rate, standard.mean, standard.scale, {}, {}};
  std::int64_t inputs = standard.mean.size(0);
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

std::vector<Probe> train_probes(const LabelledRows& all, std::int64_t classes, const ProbeConfig& config,
                                comm::Communicator& ranks) {
  COHORT_CHECK(!config.rates.empty(), "rates to learn with");
  const Examples examples(all, ranks);
  const std::int64_t width = all.features.width();
  const Standard standard = config.standardise ? standard_of(all, examples.count(), ranks)
                                               : Standard{at::zeros({width}), at::ones({width})};
  std::vector<Probe> probes;
  for (const double rate : config.rates) probes.push_back(new_probe(rate, standard, classes, config));
  std::vector<Training> mine;
  for (auto i = static_cast<std::size_t>(ranks.rank()); i < probes.size();
       i += static_cast<std::size_t>(ranks.size()))
    mine.emplace_back(config, probes[i]);
  train_all(mine, examples, standard, config, ranks);
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
