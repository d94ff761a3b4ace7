#include "cohort/nn/context.h"

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include "cohort/config/field.h"
#include "cohort/core/error.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using nn::Amortization;
using nn::Scope;
using testing::indices;
using testing::normal_values;
using testing::relative_difference;

constexpr std::int64_t kWidth = 5, kPatches = 3;

// Six images in three groups, scattered; groups 4 and 9 are of the same first context, and group 4 mixes the
// second.
nn::Conditions six_images(Scope scope) {
  nn::Conditions conditions;
  conditions.group = indices({4, 7, 9, 4, 7, 9});
  conditions.context = at::stack({indices({1, 0, 1, 1, 0, 1}), indices({2, 2, 0, 1, 2, 0})}, 1);
  conditions.scope = scope;
  return conditions;
}

nn::ContextInference two_keys(Amortization amortization) {
  return {nn::ContextConfig{.keys = {"plate", "camera"}, .amortization = amortization}, {2, 3}, kWidth};
}

// The definition, image by image: the mean over all patches of all images for which `together` holds.
at::Tensor mean_by_definition(const at::Tensor& patches,
                              const std::function<bool(std::int64_t, std::int64_t, int)>& together) {
  at::Tensor tokens = at::zeros({patches.size(0), 2, patches.size(2)}, patches.options());
  for (std::int64_t i = 0; i < patches.size(0); ++i) {
    for (int key = 0; key < 2; ++key) {
      std::vector<at::Tensor> found;
      for (std::int64_t j = 0; j < patches.size(0); ++j) {
        if (together(i, j, key)) found.push_back(patches[j]);
      }
      tokens[i][key].copy_(at::cat(found).mean(0));
    }
  }
  return tokens;
}

std::int64_t value(const at::Tensor& tensor, std::int64_t i) {
  return tensor[i].item<std::int64_t>();
}

TEST(ContextMean, GroupScopeIsTheMeanOverGroupAndValue) {
  const at::Tensor patches = normal_values({6, kPatches, kWidth}).to(at::kDouble);
  const nn::Conditions conditions = six_images(Scope::group);
  const auto together = [&](std::int64_t i, std::int64_t j, int key) {
    const at::Tensor column = conditions.context.select(1, key);
    return value(conditions.group, i) == value(conditions.group, j) && value(column, i) == value(column, j);
  };

  const at::Tensor tokens = two_keys(Amortization::mean).forward(patches, conditions);

  EXPECT_LE(relative_difference(tokens, mean_by_definition(patches, together)), 1e-14);
}

TEST(ContextMean, GlobalScopeIsTheMeanOverTheValue) {
  const at::Tensor patches = normal_values({6, kPatches, kWidth}).to(at::kDouble);
  const nn::Conditions conditions = six_images(Scope::global);
  const auto together = [&](std::int64_t i, std::int64_t j, int key) {
    const at::Tensor column = conditions.context.select(1, key);
    return value(column, i) == value(column, j);
  };

  const at::Tensor tokens = two_keys(Amortization::mean).forward(patches, conditions);

  EXPECT_LE(relative_difference(tokens, mean_by_definition(patches, together)), 1e-14);
}

TEST(ContextMean, NanOfOneGroupStaysThere) {
  at::Tensor patches = normal_values({6, kPatches, kWidth});
  patches[1].fill_(std::numeric_limits<float>::quiet_NaN());

  const at::Tensor tokens = two_keys(Amortization::mean).forward(patches, six_images(Scope::group));

  const at::Tensor bad = tokens.isnan().flatten(1).any(1);
  EXPECT_TRUE(at::equal(bad, indices({0, 1, 0, 0, 1, 0}).to(at::kBool)));
}

TEST(ContextMean, TokensOfAGroupDoNotDependOnTheRestOfTheBatch) {
  const at::Tensor patches = normal_values({6, kPatches, kWidth});
  const nn::Conditions all = six_images(Scope::group);
  const at::Tensor order = indices({5, 2});  // group 9 alone, in another order
  nn::Conditions alone = all;
  alone.group = all.group.index_select(0, order);
  alone.context = all.context.index_select(0, order);
  auto inference = two_keys(Amortization::mean_linear);

  const at::Tensor together = inference.forward(patches, all).index_select(0, order);
  const at::Tensor apart = inference.forward(patches.index_select(0, order), alone);

  EXPECT_LE(relative_difference(apart, together), 1e-6);
}

// d sum(w * tokens) / d patches by central differences in fp64.
void expect_exact_gradient(Amortization amortization, Scope scope) {
  auto inference = two_keys(amortization);
  inference.to(at::kDouble);
  at::Tensor patches = normal_values({6, kPatches, kWidth}).to(at::kDouble).requires_grad_();
  const at::Tensor weight = normal_values({6, 2, kWidth}, 1).to(at::kDouble);
  const nn::Conditions conditions = six_images(scope);
  const auto loss = [&](const at::Tensor& at_patches) {
    return (inference.forward(at_patches, conditions).square() * weight).sum();
  };

  loss(patches).backward();

  const at::NoGradGuard no_grad;
  constexpr double kStep = 1e-6;
  at::Tensor numeric = at::zeros_like(patches), moved = patches.detach().clone();
  double* const values = moved.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < moved.numel(); ++i) {
    const double before = values[i];
    values[i] = before + kStep;
    const double above = loss(moved).item<double>();
    values[i] = before - kStep;
    const double below = loss(moved).item<double>();
    values[i] = before;
    numeric.view(-1)[i] = (above - below) / (2.0 * kStep);
  }
  EXPECT_LE(relative_difference(patches.grad(), numeric), 1e-8);
}

TEST(ContextMean, GradientAgreesWithFiniteDifferences) {
  for (const Amortization amortization : {Amortization::mean, Amortization::mean_linear}) {
    expect_exact_gradient(amortization, Scope::group);
    expect_exact_gradient(amortization, Scope::global);
  }
}

TEST(ContextMean, DetachedStatisticsCarryNoGradient) {
  const at::Tensor patches = normal_values({6, kPatches, kWidth}).requires_grad_();
  auto plain = two_keys(Amortization::mean_detach);
  auto linear = two_keys(Amortization::mean_linear_detach);

  EXPECT_FALSE(plain.forward(patches, six_images(Scope::group)).requires_grad());
  linear.forward(patches, six_images(Scope::group)).sum().backward();

  EXPECT_FALSE(patches.grad().defined());
  EXPECT_TRUE(linear.named_parameters()["model.plate.1.weight"].grad().defined());
}

TEST(ContextMean, SumsInFp32UnderBf16Autocast) {
  const at::Tensor patches = (normal_values({64, 32, 8}) + 3.0).to(at::kBFloat16);
  nn::Conditions conditions;
  conditions.group = at::zeros({64}, at::kLong);
  conditions.context = at::zeros({64, 1}, at::kLong);
  nn::ContextInference inference({.keys = {"plate"}, .amortization = Amortization::mean}, {1}, 8);

  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const at::Tensor tokens = inference.forward(patches, conditions);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();

  const at::Tensor exact = patches.to(at::kDouble).mean(at::IntArrayRef{0, 1}).expand({64, 1, 8});
  EXPECT_EQ(tokens.scalar_type(), at::kFloat);
  EXPECT_LE(relative_difference(tokens, exact), 1e-6);  // bf16 sums would be off by 4e-3
}

TEST(ContextDictionary, GivesTheRowsOfItsTables) {
  auto inference = two_keys(Amortization::dictionary);
  const nn::Conditions conditions = six_images(Scope::group);

  const at::Tensor tokens = inference.forward(normal_values({6, kPatches, kWidth}), conditions);

  const auto parameters = inference.named_parameters();
  EXPECT_TRUE(at::equal(tokens[3][0], parameters["model.plate.weight"][1]));
  EXPECT_TRUE(at::equal(tokens[3][1], parameters["model.camera.weight"][1]));
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ContextDictionary, RefusesAnUnseenContextByName) {
  auto inference = two_keys(Amortization::dictionary);
  for (const std::int64_t index : {std::int64_t{17}, std::int64_t{-1}}) {
    nn::Conditions conditions = six_images(Scope::group);
    conditions.context[2][1] = index;

    const auto action = [&] { inference.forward(normal_values({6, kPatches, kWidth}), conditions); };

    EXPECT_THROW(action(), DataError);
    const std::string message = message_of(action);
    EXPECT_NE(message.find("'camera'"), std::string::npos) << message;
    EXPECT_NE(message.find(std::to_string(index)), std::string::npos) << message;
  }
}

TEST(ContextMean, UnseenContextsAreServedInGroupScopeOnly) {
  auto inference = two_keys(Amortization::mean_linear);
  nn::Conditions conditions = six_images(Scope::group);
  conditions.context[2][0] = 17;
  EXPECT_NO_THROW(inference.forward(normal_values({6, kPatches, kWidth}), conditions));
  conditions.scope = Scope::global;
  EXPECT_THROW(inference.forward(normal_values({6, kPatches, kWidth}), conditions), DataError);
}

TEST(ContextInference, ParameterNamesAreThoseOfTheReference) {
  const auto names = [](Amortization amortization) {
    return two_keys(amortization).named_parameters().keys();
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(Amortization::dictionary), (Names{"model.plate.weight", "model.camera.weight"}));
  EXPECT_EQ(names(Amortization::mean), Names{});
  EXPECT_EQ(names(Amortization::mean_linear_layer), (Names{"model.plate.1.weight", "model.plate.1.bias",
                                                           "model.camera.1.weight", "model.camera.1.bias"}));
}

TEST(ContextInference, RefusesKeysThatCannotNameAParameter) {
  for (const auto& keys : std::vector<std::vector<std::string>>{{"a.b"}, {""}, {"plate", "plate"}}) {
    EXPECT_THROW(nn::check_context_keys({.keys = keys}), UsageError);
    EXPECT_THROW(nn::ContextInference({.keys = keys}, std::vector<std::int64_t>(keys.size(), 2), kWidth),
                 UsageError);
  }
}

TEST(ContextInference, LinearMeanIsAnAlias) {
  std::size_t found = 0;
  for (const auto& entry : enum_names(Amortization{})) {
    if (entry.name != "linear_mean_detach") continue;
    ++found;
    EXPECT_EQ(config::enum_name(entry.value), "mean_linear_detach");
  }
  EXPECT_EQ(found, 1U);
}

}  // namespace
}  // namespace cohort
