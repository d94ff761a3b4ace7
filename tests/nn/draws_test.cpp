// What a model draws at random: masks of dropout and stochastic depth that no layer, step, image or place
// shares with another, and first values that no two parameters share.
#include <array>
#include <cmath>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/random.h"
#include "cohort/nn/channel_sampling.h"
#include "cohort/nn/dropout.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/vit.h"

#include "../support/even.h"
#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort::nn {
namespace {

using cohort::testing::Counts;
using cohort::testing::expect_even;

Conditions training(const at::Tensor& samples, std::int64_t step = 5) {
  Conditions conditions;
  conditions.sample = samples;
  conditions.seed = 11;
  conditions.step = step;
  conditions.training = true;
  return conditions;
}

// 1 where a value is kept
at::Tensor kept(const at::Tensor& dropped) {
  return dropped.ne(0).to(at::kLong);
}

void expect_independent(const at::Tensor& a, const at::Tensor& b) {
  Counts pairs({2, 2});
  const at::Tensor codes = (kept(a) * 2 + kept(b)).flatten().contiguous();
  for (std::int64_t i = 0; i < codes.numel(); ++i)
    pairs.add(codes.const_data_ptr<std::int64_t>()[i] / 2, codes.const_data_ptr<std::int64_t>()[i] % 2);
  expect_even(pairs);
}

TEST(DropoutDraws, PlacesImagesLayersAndStepsAreIndependent) {
  const at::Tensor ones = at::ones({40, 6, 25}), samples = at::arange(40);
  const at::Tensor mask = dropout(ones, 0.5, training(samples), 3);
  expect_independent(mask, dropout(ones, 0.5, training(samples), 4));
  expect_independent(mask, dropout(ones, 0.5, training(samples, 6), 3));
  expect_independent(mask, dropout(ones, 0.5, training(samples + 1), 3));
  expect_independent(mask.narrow(1, 0, 5), mask.narrow(1, 1, 5));
  expect_independent(mask.narrow(2, 0, 24), mask.narrow(2, 1, 24));
  expect_independent(mask.narrow(2, 0, 21), mask.narrow(2, 4, 21));  // a block of the generator further on

  const at::Tensor branch = at::ones({4000, 1}), many = at::arange(4000);
  const at::Tensor path = drop_path(branch, 0.5, training(many), 3);
  expect_independent(path, drop_path(branch, 0.5, training(many), 4));
  expect_independent(path, drop_path(branch, 0.5, training(many, 6), 3));
  expect_independent(path, drop_path(branch, 0.5, training(many + 1), 3));
  expect_independent(path, dropout(branch, 0.5, training(many), 3));

  const at::Tensor images = at::ones({2000, 2, 1, 1}), few = at::arange(2000);
  const at::Tensor channels = channel_dropout(images, 0.5, training(few));
  expect_independent(channels.select(1, 0), channels.select(1, 1));
  expect_independent(channels, channel_dropout(images, 0.5, training(few, 6)));
  expect_independent(channels, channel_dropout(images, 0.5, training(few + 1)));
}

TEST(DropoutDraws, EveryPlaceIsDroppedEquallyOften) {
  const at::Tensor dropped =
      dropout(at::ones({3000, 3, 7}), 0.2, training(at::arange(3000)), 1).eq(0).sum(0).flatten();
  Counts places({21});
  for (std::int64_t i = 0; i < 21; ++i) {
    for (std::int64_t n = dropped[i].item<std::int64_t>(); n > 0; --n) places.add(i);
  }
  expect_even(places);
}

TEST(ChannelSamplingDraws, StepsAndSeedsAreIndependent) {
  Counts steps({7, 7}), seeds({7, 7});
  // The subset of three channels as a number; its size 1, 2 or 3 comes first and has equal chances.
  const auto drawn = [](std::uint64_t seed, std::int64_t step) {
    std::int64_t bits = 0;
    for (const std::int64_t channel : sample_channels(3, seed, step)) bits |= std::int64_t{1} << channel;
    return bits - 1;
  };
  std::vector<double> subsets;
  for (int bits = 1; bits <= 7; ++bits) subsets.push_back(bits == 7 ? 1 / 3.0 : 1 / 9.0);
  std::vector<double> pairs;
  for (const double a : subsets) {
    for (const double b : subsets) pairs.push_back(a * b);
  }
  for (std::int64_t step = 0; step < 3000; ++step) {
    steps.add(drawn(1, step), drawn(1, step + 1));
    seeds.add(drawn(1, step), drawn(2, step));
  }
  cohort::testing::expect_as_likely(steps.cells(), pairs);
  cohort::testing::expect_as_likely(seeds.cells(), pairs);
}

// The formulas of a plain vision transformer, with the masks that the headers promise: dropout 0 after the
// positions and three in each block, two branches in each block, u of (seed, purpose, step, sample, layer).
class PlainFormula {
 public:
  PlainFormula(const VisionTransformer& model, Conditions conditions)
      : shape_(model.shape()), conditions_(std::move(conditions)) {
    for (const auto& parameter : model.named_parameters()) values_[parameter.key()] = parameter.value();
  }

  at::Tensor cls(const at::Tensor& images) const {
    const at::Tensor embedded =
        at::conv2d(images, of("patch_embed.proj.weight"), of("patch_embed.proj.bias"), shape_.patch_size);
    const at::Tensor patches = embedded.flatten(2).transpose(1, 2);
    const at::Tensor first = of("cls_token").expand({images.size(0), -1, -1});
    at::Tensor x = dropped(at::cat({first, patches}, 1) + of("pos_embed"), 0);
    for (std::int64_t l = 0; l < shape_.depth; ++l) x = block(x, l);
    return normalised(x, "norm.").select(1, 0);
  }

 private:
  at::Tensor of(const std::string& name) const { return values_.at(name); }

  at::Tensor uniform(Purpose purpose, std::uint32_t layer, std::int64_t count) const {
    at::Tensor values = at::empty({conditions_.sample.size(0), count});
    for (std::int64_t i = 0; i < values.size(0); ++i) {
      RandomStream stream(
          {conditions_.seed, purpose, conditions_.step, conditions_.sample[i].item<std::int64_t>(), layer});
      for (std::int64_t j = 0; j < count; ++j) values[i][j] = stream.uniform();
    }
    return values;
  }
  at::Tensor dropped(const at::Tensor& x, std::uint32_t layer) const {
    const at::Tensor u = uniform(Purpose::dropout, layer, x.numel() / x.size(0)).view(x.sizes());
    return x * u.ge(shape_.dropout) / (1 - shape_.dropout);
  }
  at::Tensor branch(const at::Tensor& x, std::int64_t l, std::uint32_t number) const {
    const double keep = 1 - shape_.drop_path * static_cast<double>(l) / static_cast<double>(shape_.depth - 1);
    const at::Tensor u = uniform(Purpose::drop_path, 2 * static_cast<std::uint32_t>(l) + number, 1);
    return x * u.add(keep).ge(1).unsqueeze(2) / keep;
  }
  at::Tensor normalised(const at::Tensor& x, const std::string& name) const {
    return at::layer_norm(x, {shape_.embed_dim}, of(name + "weight"), of(name + "bias"), 1e-6);
  }
  at::Tensor linear(const at::Tensor& x, const std::string& name) const {
    return at::linear(x, of(name + "weight"), of(name + "bias"));
  }
  at::Tensor attended(const at::Tensor& x, const std::string& name) const {
    const std::int64_t width = shape_.embed_dim / shape_.heads;
    const at::Tensor qkv = linear(x, name + "qkv.")
                               .view({x.size(0), x.size(1), 3, shape_.heads, width})
                               .permute({2, 0, 3, 1, 4});
    const at::Tensor scores = qkv[0].matmul(qkv[1].transpose(2, 3)) / std::sqrt(static_cast<double>(width));
    return linear(scores.softmax(3).matmul(qkv[2]).transpose(1, 2).reshape(x.sizes()), name + "proj.");
  }
  at::Tensor block(at::Tensor x, std::int64_t l) const {
    const std::string name = "blocks." + std::to_string(l) + ".";
    const auto first = 1 + 3 * static_cast<std::uint32_t>(l);
    x = x + branch(dropped(attended(normalised(x, name + "norm1."), name + "attn."), first), l, 0);
    const at::Tensor hidden =
        dropped(at::gelu(linear(normalised(x, name + "norm2."), name + "mlp.fc1.")), first + 1);
    return x + branch(dropped(linear(hidden, name + "mlp.fc2."), first + 2), l, 1);
  }

  VitShape shape_;
  Conditions conditions_;
  std::map<std::string, at::Tensor> values_;
};

TEST(DropoutDraws, EveryPlaceOfAModelHasMasksOfItsOwn) {
  VitShape shape = cohort::testing::small_shape();
  shape.dropout = 0.3;
  shape.drop_path = 0.4;
  const auto model = cohort::testing::small_model(shape, 4.0);
  const at::Tensor images = cohort::testing::normal_values({12, 1, 8, 8});
  const Conditions conditions = training(at::arange(12) * 5 + 2);
  const at::NoGradGuard no_gradients;

  const at::Tensor expected = PlainFormula(*model, conditions).cls(images);

  for (const unsigned wanted : std::initializer_list<unsigned>{cohort::testing::kAll, Encoder::pooled}) {
    // With cls alone the last block drops of the cls token what it would drop of it among all.
    EXPECT_LE(cohort::testing::relative_difference(
                  cohort::testing::encode(*model, images, conditions, wanted).pooled, expected),
              1e-5);
  }
}

// Deciles of the normal distribution.
std::int64_t decile(double value, double deviation) {
  return std::clamp<std::int64_t>(
      static_cast<std::int64_t>(10 * 0.5 * std::erfc(-value / deviation / std::sqrt(2.0))), 0, 9);
}

TEST(InitialisationDraws, ValuesAreNormalAndNoTwoParametersOrSeedsShareThem) {
  const VisionTransformer model(cohort::testing::small_shape(), 7), other(cohort::testing::small_shape(), 8);
  const auto values = model.named_parameters(), others = other.named_parameters();
  const std::string name = "attn.qkv.weight";
  const auto of = [](const auto& parameters, const std::string& which) {
    return parameters[which].detach().flatten().contiguous();
  };
  const at::Tensor first = of(values, "blocks.0." + name), second = of(values, "blocks.1." + name),
                   another = of(others, "blocks.0." + name);
  Counts blocks({10, 10}), seeds({10, 10}), neighbours({10, 10});
  const auto at_place = [](const at::Tensor& from, std::int64_t i) {
    return decile(static_cast<double>(from.const_data_ptr<float>()[i]), 0.02);
  };
  for (std::int64_t i = 0; i < first.numel(); ++i) {
    blocks.add(at_place(first, i), at_place(second, i));
    seeds.add(at_place(first, i), at_place(another, i));
    if (i > 0) neighbours.add(at_place(first, i - 1), at_place(first, i));
  }
  expect_even(blocks);
  expect_even(seeds);
  expect_even(neighbours);
}

TEST(InitialisationDraws, ConvolutionsAreUniformUpToTheirBound) {
  VitShape shape = cohort::testing::small_shape();
  shape.embed_dim = 96;
  const VisionTransformer model(shape, 7);
  const at::Tensor weight = model.named_parameters()["patch_embed.proj.weight"].detach().flatten();
  Counts parts({16});
  for (std::int64_t i = 0; i < weight.numel(); ++i)
    parts.add(cohort::testing::part_of(weight[i].item<double>(), -0.25, 0.25, 16));
  expect_even(parts);
}

}  // namespace
}  // namespace cohort::nn
