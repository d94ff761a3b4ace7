#include "cohort/eval/probe.h"

#include <cmath>
#include <numbers>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "support/even.h"
#include "support/ranks.h"
#include "support/small_model.h"
#include "support/stored_rows.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kImages = 60, kFeatures = 4, kProbeClasses = 3;

std::vector<std::int32_t> labels_of(const at::Tensor& features) {
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < features.size(0); ++i)
    labels.push_back(
        static_cast<std::int32_t>(features[i].narrow(0, 0, kProbeClasses).argmax().item<std::int64_t>()));
  return labels;
}

std::vector<Probe> train_probes(const at::Tensor& features, const std::vector<std::int32_t>& labels,
                                std::int64_t classes, const ProbeConfig& config, comm::Communicator& ranks) {
  const StoredRows rows = testing::stored(features, ranks);
  return eval::train_probes({rows, testing::labels_of(labels)}, classes, config, ranks);
}

double accuracy(const Probe& probe, const at::Tensor& features, const std::vector<std::int32_t>& labels) {
  const at::Tensor answers = probe.logits(features).argmax(1);
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < features.size(0); ++i)
    right += answers[i].item<std::int64_t>() == labels[static_cast<std::size_t>(i)] ? 1 : 0;
  return static_cast<double>(right) / static_cast<double>(features.size(0));
}

TEST(Probe, LearnsWhatALineSeparates) {
  comm::Communicator world = test::world();
  const at::Tensor features = 100 + 30 * testing::normal_values({kImages, kFeatures});
  const auto labels = labels_of(features);

  const auto probes =
      train_probes(features, labels, kProbeClasses,
                   {.rates = {1e-6, 0.3}, .epochs = 300, .batch = 16, .label_smoothing = 0}, world);

  EXPECT_GT(accuracy(probes[1], features, labels), 0.95);
  EXPECT_LT(accuracy(probes[0], features, labels), 0.7) << "this rate is too low to learn anything";
}

// The gradient of the smoothed cross-entropy by hand: (softmax - target) x, mean over the batch.
TEST(Probe, FollowsTheUpdateRule) {
  comm::Communicator world = test::world();
  const at::Tensor features = testing::normal_values({kImages, kFeatures});
  auto labels = labels_of(features);
  labels[7] = -1;
  const ProbeConfig config{
      .rates = {0.2}, .epochs = 3, .batch = 25, .label_smoothing = 0.3, .standardise = false, .seed = 5};

  const Probe probe = train_probes(features, labels, kProbeClasses, config, world).front();

  const ProbeConfig untrained{.rates = {0.2}, .epochs = 0, .standardise = false, .seed = 5};
  at::Tensor w =
      train_probes(features, labels, kProbeClasses, untrained, world).front().weights[0].to(at::kDouble);
  at::Tensor b = at::zeros({kProbeClasses}, at::kDouble), vw = at::zeros_like(w), vb = at::zeros_like(b);
  std::vector<std::int64_t> known;
  for (std::int64_t i = 0; i < kImages; ++i) {
    if (labels[static_cast<std::size_t>(i)] >= 0) known.push_back(i);
  }
  for (std::int64_t epoch = 0, done = 0; epoch < 3; ++epoch) {
    const auto order =
        permutation(std::ssize(known), RandomStream({.seed = 5, .purpose = Purpose::shuffle, .time = epoch}));
    for (std::int64_t begin = 0; begin < std::ssize(known); begin += 25, ++done) {
      const std::int64_t end = std::min<std::int64_t>(begin + 25, std::ssize(known));
      at::Tensor gw = at::zeros_like(w), gb = at::zeros_like(b);
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = known[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])];
        const at::Tensor x = features[row].to(at::kDouble);
        at::Tensor target = at::full({kProbeClasses}, 0.3 / kProbeClasses, at::kDouble);
        target[labels[static_cast<std::size_t>(row)]] += 0.7;
        const at::Tensor error = (w.matmul(x) + b).softmax(0) - target;
        gw += at::outer(error, x) / (end - begin);
        gb += error / (end - begin);
      }
      const double rate = 0.2 * 0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(done) / 9));
      vw = 0.9 * vw + gw;
      vb = 0.9 * vb + gb;
      w = w - rate * vw;
      b = b - rate * vb;
    }
  }
  EXPECT_TRUE(at::allclose(probe.weights[0].to(at::kDouble), w, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(probe.biases[0].to(at::kDouble), b, 1e-5, 1e-6));
}

// Deviation 1/√inputs; neither layers nor seeds share values.
TEST(Probe, FirstWeightsAreNormalAndOfTheirOwnLayerAndSeed) {
  comm::Communicator world = test::world();
  constexpr std::int64_t kWide = 50;
  const auto first = [&](std::uint64_t seed, std::size_t layer) {
    const ProbeConfig config{.rates = {0.1}, .hidden = kWide, .epochs = 0, .seed = seed};
    const std::vector<std::int32_t> labels{0, 1, 2};
    return train_probes(testing::normal_values({3, kWide}), labels, kWide, config, world)
        .front()
        .weights[layer]
        .flatten()
        .contiguous();
  };
  const auto half = [](const at::Tensor& weights, std::int64_t i) {
    const double deviates = static_cast<double>(weights.const_data_ptr<float>()[i]) * std::sqrt(kWide);
    return deviates < -0.6744898 ? 0 : deviates < 0 ? 1 : deviates < 0.6744898 ? 2 : 3;  // quartiles
  };
  const at::Tensor one = first(1, 0), second = first(1, 1), other = first(2, 0);
  testing::Counts layers({4, 4}), seeds({4, 4}), neighbours({4, 4});
  for (std::int64_t i = 0; i + 1 < one.numel(); ++i) {
    layers.add(half(one, i), half(second, i));
    seeds.add(half(one, i), half(other, i));
    neighbours.add(half(one, i), half(one, i + 1));
  }
  for (const testing::Counts& counts : {layers, seeds, neighbours}) testing::expect_even(counts);
}

TEST(Probe, HasTheSameBitsOnAnyNumberOfRanks) {
  comm::Communicator world = test::world();
  comm::Communicator alone = world.split(world.rank(), "alone");
  const at::Tensor features = testing::normal_values({kImages, kFeatures});
  const auto labels = labels_of(features);
  for (const std::int64_t hidden : {0, 6}) {
    const ProbeConfig config{.rates = {0.01, 0.1, 1.0}, .hidden = hidden, .epochs = 5, .batch = 32};

    const auto together = train_probes(features, labels, kProbeClasses, config, world);
    const auto single = train_probes(features, labels, kProbeClasses, config, alone);

    ASSERT_EQ(together.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(together[i].logits(features).equal(single[i].logits(features))) << config.rates[i];
      EXPECT_EQ(together[i].weights.size(), hidden == 0 ? 1U : 2U);
    }
  }
}

TEST(Probe, WithoutLabelsThereIsNothingToLearn) {
  comm::Communicator world = test::world();
  const std::vector<std::int32_t> none(3, -1);
  EXPECT_THROW(train_probes(testing::normal_values({3, 2}), none, 2, {}, world), DataError);
}

}  // namespace
}  // namespace cohort::eval
