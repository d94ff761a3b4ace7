#include "cohort/eval/weights.h"

#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "support/small_model.h"

namespace cohort::eval {
namespace {

nn::VitShape shape(std::int64_t side, std::int64_t classes) {
  nn::VitShape shape = testing::small_shape({"site"}, nn::Amortization::mean_linear, {3});
  shape.height = shape.width = side;
  shape.classes = classes;
  return shape;
}

double difference(const nn::VisionTransformer& a, const nn::VisionTransformer& b, const std::string& name) {
  return (a.named_parameters()[name] - b.named_parameters()[name]).abs().max().item<double>();
}

TEST(Weights, GoOutAndInUnchanged) {
  nn::VisionTransformer from(shape(8, 2), 1), to(shape(8, 2), 2);
  ASSERT_GT(difference(from, to, "cls_token"), 0.0);

  EXPECT_TRUE(load_weights(to, weights_of(from), "file"));

  for (const auto& parameter : from.named_parameters())
    EXPECT_EQ(difference(from, to, parameter.key()), 0.0) << parameter.key();
}

TEST(Weights, AnotherHeadIsLeftAsItIs) {
  nn::VisionTransformer from(shape(8, 5), 1), to(shape(8, 2), 2), as_before(shape(8, 2), 2),
      headless(shape(8, 0), 2);

  EXPECT_FALSE(load_weights(to, weights_of(from), "file"));

  EXPECT_EQ(difference(to, as_before, "head.weight"), 0.0);
  EXPECT_EQ(difference(to, from, "norm.weight"), 0.0);
  EXPECT_EQ(difference(to, from, "cls_token"), 0.0);
  EXPECT_TRUE(load_weights(headless, weights_of(from), "file"));
}

TEST(Weights, PositionsOfAnotherGridAreInterpolated) {
  nn::VisionTransformer from(shape(8, 2), 1), to(shape(16, 2), 2);

  EXPECT_TRUE(load_weights(to, weights_of(from), "file"));

  const at::Tensor small = from.named_parameters()["pos_embed"], large = to.named_parameters()["pos_embed"];
  EXPECT_TRUE(at::equal(small.narrow(1, 0, 2), large.narrow(1, 0, 2)));
  EXPECT_EQ(large.size(1), 2 + 16);
  EXPECT_LE(large.abs().max().item<double>(), 2 * small.abs().max().item<double>());
}

TEST(Weights, RefusesWhatDoesNotFitAndChangesNothing) {
  nn::VisionTransformer model(shape(8, 2), 1), as_before(shape(8, 2), 1);
  checkpoint::Safetensors missing = weights_of(model), unknown = missing, reshaped = missing;
  for (auto& [name, values] : missing.tensors) values.zero_();
  missing.tensors.pop_back();
  while (missing.find("norm.weight") != nullptr) missing.tensors.pop_back();
  unknown.tensors.emplace_back("norm.wait", at::zeros({1}));
  for (auto& [name, values] : reshaped.tensors) {
    if (name == "cls_token") values = at::zeros({1, 1, 25});
  }

  EXPECT_THROW(load_weights(model, missing, "file"), DataError);
  EXPECT_THROW(load_weights(model, reshaped, "file"), DataError);
  try {
    load_weights(model, unknown, "w.safetensors");
    FAIL() << "an unknown name was accepted";
  } catch (const DataError& error) {
    EXPECT_EQ(error.text().where, "w.safetensors");
    EXPECT_NE(error.text().fix.find("norm.weight"), std::string::npos) << error.what();
  }
  EXPECT_EQ(difference(model, as_before, "cls_token"), 0.0);
}

}  // namespace
}  // namespace cohort::eval
