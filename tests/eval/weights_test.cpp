#include "cohort/eval/weights.h"

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/export.h"
#include "cohort/core/error.h"
#include "cohort/nn/position.h"
#include "cohort/nn/resnet.h"
#include "cohort/nn/vit.h"

#include "support/small_model.h"

namespace cohort::eval {
namespace {

using nn::FittedWeights;
using nn::Misfits;

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

/// The file's tensor of this name, to be changed.
at::Tensor& tensor_of(checkpoint::Safetensors& weights, const std::string& name) {
  for (auto& [known, values] : weights.tensors) {
    if (known == name) return values;
  }
  throw std::runtime_error("no tensor " + name);
}

TEST(Weights, ChannelsAreAdaptedAsInTimm) {
  const auto with_channels = [](std::int64_t channels) {
    auto result = shape(8, 2);
    result.channels = channels;
    return result;
  };
  const nn::VisionTransformer rgb(with_channels(3), 1), gray(with_channels(1), 2), five(with_channels(5), 3);
  const std::string name = "patch_embed.proj.weight";
  const at::Tensor three = rgb.named_parameters()[name];

  const auto to_gray = fitted_weights(gray, weights_of(rgb), "file");
  const auto to_five = fitted_weights(five, weights_of(rgb), "file");

  EXPECT_TRUE(at::allclose(to_gray.values.at(name), three.sum(1, true)));
  EXPECT_EQ(to_gray.adapted, std::vector<std::string>{name + ": 3 channels -> 1"});
  const at::Tensor repeated = to_five.values.at(name);
  ASSERT_EQ(repeated.size(1), 5);
  for (std::int64_t i = 0; i < 5; ++i)
    EXPECT_TRUE(at::allclose(repeated.select(1, i), three.select(1, i % 3) * 0.6)) << i;
}

// As training and imports make it: only names and shapes are there.
TEST(Weights, FitAModelWithoutMemory) {
  nn::VitShape wanted = shape(16, 3);
  wanted.channels = 5;
  const nn::VisionTransformer from(shape(8, 2), 1), whole(wanted, 2), empty(wanted);

  const FittedWeights expected = fitted_weights(whole, weights_of(from), "file", Misfits::list),
                      fitted = fitted_weights(empty, weights_of(from), "file", Misfits::list);

  EXPECT_EQ(fitted.adapted.size(), 2U);
  EXPECT_EQ(fitted.adapted, expected.adapted);
  EXPECT_EQ(fitted.missing, expected.missing);
  EXPECT_EQ(fitted.skipped, expected.skipped);
  ASSERT_EQ(fitted.values.size(), expected.values.size());
  for (const auto& [name, values] : expected.values)
    EXPECT_TRUE(at::equal(fitted.values.at(name), values)) << name;
}

// A plain table has no rows for context tokens: those of a larger grid are 1 + 16.
TEST(Weights, APlainTableServesAModelWithContextTokens) {
  nn::VitShape plain = shape(16, 2);
  plain.context.keys.clear();
  plain.vocabulary.clear();
  const nn::VisionTransformer from(plain, 1), to(shape(16, 2), 2);

  const FittedWeights fitted = fitted_weights(to, weights_of(from), "file", Misfits::list);

  const at::Tensor before = from.named_parameters()["pos_embed"], after = fitted.values.at("pos_embed");
  ASSERT_EQ(after.size(1), 2 + 16);
  EXPECT_TRUE(at::equal(after.narrow(1, 0, 1), before.narrow(1, 0, 1)));
  EXPECT_EQ(after.select(1, 1).abs().max().item<double>(), 0.0);
  EXPECT_TRUE(at::equal(after.narrow(1, 2, 16), before.narrow(1, 1, 16)));
  EXPECT_FALSE(fitted.missing.empty()) << "parameters of the context";
}

// DINOv2 adds a position to its cls token, timm none.
TEST(Weights, RegistersOfDinov2ArePutUnderOurNames) {
  nn::VitShape with_registers = shape(8, 0);
  with_registers.registers = 2;
  nn::VisionTransformer from(with_registers, 1), to(with_registers, 2);
  checkpoint::Safetensors file = weights_of(from);
  const at::Tensor position = testing::normal_values({1, 1, 24});
  at::Tensor& table = tensor_of(file, "pos_embed");
  table = at::cat({position, table}, 1);
  tensor_of(file, "cls_token").sub_(position);
  for (auto& [name, values] : file.tensors) {
    if (name == "reg_token") name = "register_tokens";
  }
  file.tensors.emplace_back("mask_token", at::zeros({1, 24}));

  EXPECT_TRUE(load_weights(to, file, "file"));

  EXPECT_LE(difference(from, to, "cls_token"), 1e-6);
  for (const std::string name : {"pos_embed", "reg_token", "norm.weight"})
    EXPECT_EQ(difference(from, to, name), 0.0) << name;
}

TEST(Weights, ATableOfChannelsHasTwoLayouts) {
  nn::VitShape of_channels = shape(8, 0);
  of_channels.family = nn::Family::channelvit;
  of_channels.channels = 3;
  nn::VisionTransformer from(of_channels, 1), to(of_channels, 2);
  checkpoint::Safetensors file = weights_of(from);
  for (auto& [name, values] : file.tensors) {
    if (name != "patch_embed.channel_embed.weight") continue;
    name = "patch_embed.channel_embed";
    values = values.t().contiguous().view({1, 24, 3, 1, 1});
  }

  EXPECT_TRUE(load_weights(to, file, "file"));

  EXPECT_EQ(difference(from, to, "patch_embed.channel_embed.weight"), 0.0);
}

using Names = std::vector<std::string>;

/// What a model of this shape was trained on: channels c0 …, classes k0 …, sites s0 ….
data::Signature signature_of(const nn::VitShape& shape) {
  const auto names = [](const char* letter, std::int64_t count) {
    Names all;
    for (std::int64_t i = 0; i < count; ++i) all.push_back(letter + std::to_string(i));
    return all;
  };
  data::Signature signature{.label = "kind", .classes = names("k", shape.classes)};
  for (std::size_t k = 0; k < shape.context.keys.size(); ++k)
    signature.contexts.push_back({shape.context.keys[k], names("s", shape.vocabulary[k])});
  signature.channels = names("c", shape.channels);
  signature.images = {data::PixelType::u8, shape.channels, shape.height, shape.width};
  return signature;
}

checkpoint::Safetensors named_weights(const nn::VisionTransformer& model) {
  checkpoint::Safetensors weights = weights_of(model);
  weights.metadata[checkpoint::kTrainedOn] = data::signature_text(signature_of(model.shape()));
  return weights;
}

at::Tensor rows(const at::Tensor& values, std::vector<std::int64_t> places, std::int64_t dimension = 0) {
  return values.index_select(dimension, testing::indices(std::move(places)));
}

TEST(Weights, TheHeadGoesByTheNamesOfItsClasses) {
  const nn::VisionTransformer from(shape(8, 3), 1), to(shape(8, 3), 2);
  data::Signature wanted = signature_of(to.shape());
  wanted.classes = {"k2", "k0", "k1"};

  const FittedWeights fitted = fitted_weights(to, named_weights(from), "file", Misfits::refuse, &wanted);

  const auto parameters = from.named_parameters();
  EXPECT_TRUE(at::equal(fitted.values.at("head.weight"), rows(parameters["head.weight"], {2, 0, 1})));
  EXPECT_TRUE(at::equal(fitted.values.at("head.bias"), rows(parameters["head.bias"], {2, 0, 1})));
}

TEST(Weights, AHeadOfOtherClassesOrOfAnotherLabelIsNotTaken) {
  const nn::VisionTransformer from(shape(8, 3), 1), to(shape(8, 3), 2);
  data::Signature other_class = signature_of(to.shape()), other_label = other_class;
  other_class.classes = {"k0", "k1", "new"};
  other_label.label = "grade";

  for (const data::Signature& wanted : {other_class, other_label}) {
    const FittedWeights fitted = fitted_weights(to, named_weights(from), "file", Misfits::refuse, &wanted);
    EXPECT_FALSE(fitted.values.contains("head.weight"));
    EXPECT_TRUE(fitted.values.contains("norm.weight"));
    ASSERT_EQ(fitted.skipped.size(), 2U);
    EXPECT_NE(fitted.skipped.front().find("'kind': k0, k1, k2"), std::string::npos) << fitted.skipped.front();
  }
}

TEST(Weights, RowsOfADictionaryGoToTheirContexts) {
  nn::VitShape small = testing::small_shape({"site"}, nn::Amortization::dictionary_layer, {3}), large = small;
  large.vocabulary = {4};
  const nn::VisionTransformer from(small, 1), to(large, 2);
  data::Signature wanted = signature_of(large);
  wanted.contexts[0].values = {"s2", "new", "s0", "s1"};

  const FittedWeights fitted = fitted_weights(to, named_weights(from), "file", Misfits::refuse, &wanted);

  for (const std::string name : {"cin.model.site.weight", "cin_blocks.1.model.site.weight"}) {
    const at::Tensor moved = fitted.values.at(name);
    EXPECT_TRUE(at::equal(rows(moved, {0, 2, 3}), rows(from.named_parameters()[name], {2, 0, 1}))) << name;
    EXPECT_EQ(moved[1].abs().max().item<double>(), 0.0) << name;
  }
  EXPECT_EQ(fitted.adapted.front(), "cin.model.site.weight: 3 of 4 rows by name, zeros for new");
}

TEST(Weights, FiltersGoToTheirChannels) {
  nn::VitShape three = shape(8, 2), two = three;
  three.channels = 3;
  two.channels = 2;
  const nn::VisionTransformer from(three, 1), permuted(three, 2), fewer(two, 3);
  data::Signature same = signature_of(three), some = signature_of(two), others = same;
  same.channels = {"c1", "c2", "c0"};
  some.channels = {"c2", "c0"};
  others.channels = {"x", "y", "z"};
  const std::string name = "patch_embed.proj.weight";
  const at::Tensor filters = from.named_parameters()[name];

  const auto fit = [&](const nn::VisionTransformer& to, const data::Signature& wanted) {
    return fitted_weights(to, named_weights(from), "file", Misfits::refuse, &wanted);
  };

  EXPECT_TRUE(at::equal(fit(permuted, same).values.at(name), rows(filters, {1, 2, 0}, 1)));
  EXPECT_TRUE(at::allclose(fit(fewer, some).values.at(name), rows(filters, {2, 0}, 1) * 1.5));
  const FittedWeights unknown = fit(permuted, others);
  EXPECT_TRUE(at::equal(unknown.values.at(name), filters));
  EXPECT_EQ(unknown.adapted, Names{name + ": channels c0, c1, c2 -> x, y, z, by position"});
}

TEST(Weights, EmbeddingsOfChannelsGoByName) {
  nn::VitShape of_channels = shape(8, 0);
  of_channels.family = nn::Family::channelvit;
  of_channels.channels = 3;
  const nn::VisionTransformer from(of_channels, 1), to(of_channels, 2);
  data::Signature wanted = signature_of(of_channels);
  wanted.channels = {"c2", "c1", "c0"};
  const std::string name = "patch_embed.channel_embed.weight";

  const auto fitted = fitted_weights(to, named_weights(from), "file", Misfits::refuse, &wanted);

  EXPECT_TRUE(at::equal(fitted.values.at(name), from.named_parameters()[name].flip(0)));
}

TEST(Weights, PositionsOfContextTokensGoByKey) {
  nn::VitShape two_keys = testing::small_shape({"site", "day"}, nn::Amortization::mean, {3, 2}),
               turned = testing::small_shape({"day", "slide", "site"}, nn::Amortization::mean, {2, 5, 3});
  const nn::VisionTransformer from(two_keys, 1), to(turned, 2);
  const data::Signature wanted = signature_of(turned);

  const auto fitted = fitted_weights(to, named_weights(from), "file", Misfits::refuse, &wanted);

  const at::Tensor before = from.named_parameters()["pos_embed"], after = fitted.values.at("pos_embed");
  EXPECT_TRUE(at::equal(rows(after, {0, 1, 3}, 1), rows(before, {0, 2, 1}, 1)));
  EXPECT_EQ(after.select(1, 2).abs().max().item<double>(), 0.0);
  EXPECT_TRUE(at::equal(after.narrow(1, 4, 4), before.narrow(1, 3, 4)));
}

nn::VitShape shape_of_size(std::int64_t height, std::int64_t width) {
  nn::VitShape result = shape(8, 2);
  result.height = height;
  result.width = width;
  return result;
}

// 2 x 8 patches are as many as 4 x 4.
TEST(Weights, PositionsAreThoseOfTheTrueGrid) {
  const nn::VisionTransformer from(shape_of_size(8, 32), 1), same(shape_of_size(8, 32), 2),
      square(shape_of_size(16, 16), 2), large(shape_of_size(24, 24), 2);
  const at::Tensor table = from.named_parameters()["pos_embed"];

  const auto fit = [&](const nn::VisionTransformer& to) {
    const data::Signature wanted = signature_of(to.shape());
    return fitted_weights(to, named_weights(from), "file", Misfits::refuse, &wanted);
  };

  EXPECT_TRUE(at::equal(fit(same).values.at("pos_embed"), table));
  EXPECT_TRUE(fit(same).adapted.empty());
  for (const auto& [to, side] : {std::pair(&square, 4), std::pair(&large, 6)}) {
    const FittedWeights fitted = fit(*to);
    const at::Tensor expected =
        nn::interpolate_positions(table, 2, {2, 8}, {side, side}, nn::PositionInterpolation::reference);
    EXPECT_TRUE(at::equal(fitted.values.at("pos_embed"), expected));
    EXPECT_EQ(fitted.adapted, Names{fmt::format("pos_embed: 2 x 8 patches -> {} x {}, bicubic", side, side)});
  }
}

TEST(Weights, AGridThatNobodySaysIsASquareOrTheModelsOwnOrRefused) {
  const nn::VisionTransformer wide(shape_of_size(8, 32), 1), square(shape_of_size(16, 16), 1),
      large(shape_of_size(24, 24), 2), flat(shape_of_size(8, 24), 1);

  const auto own = fitted_weights(wide, weights_of(square), "file"),
             as_square = fitted_weights(large, weights_of(wide), "file");

  EXPECT_TRUE(at::equal(own.values.at("pos_embed"), square.named_parameters()["pos_embed"]));
  EXPECT_EQ(own.adapted,
            Names{"pos_embed: 2 x 8 patches, taken for the model's own grid: the file does not say"});
  EXPECT_EQ(as_square.adapted,
            Names{"pos_embed: 4 x 4 patches -> 6 x 6, bicubic, taken for a square: the file does not say"});
  EXPECT_THROW((void)fitted_weights(large, weights_of(flat), "file"), DataError);
}

TEST(Weights, AFileWhoseTensorsContradictItsNamesIsRefused) {
  const nn::VisionTransformer model(shape(8, 2), 1);
  const auto refused = [&](const std::function<void(data::Signature&)>& change) {
    data::Signature said = signature_of(model.shape());
    const data::Signature wanted = said;
    change(said);
    checkpoint::Safetensors weights = weights_of(model);
    weights.metadata[checkpoint::kTrainedOn] = data::signature_text(said);
    EXPECT_THROW((void)fitted_weights(model, weights, "file", Misfits::refuse, &wanted), DataError);
  };
  refused([](data::Signature& said) { said.images.height = 16; });
  refused([](data::Signature& said) { said.channels = {"c0", "c1"}; });
}

TEST(Weights, ListsWhatIsMissingAndSkipped) {
  const nn::VisionTransformer model(shape(8, 2), 1);
  checkpoint::Safetensors weights = weights_of(model);
  tensor_of(weights, "cls_token") = at::zeros({1, 1, 13});
  weights.tensors.emplace_back("norm.wait", at::zeros({1}));
  std::erase_if(weights.tensors, [](const auto& entry) { return entry.first == "norm.bias"; });

  const FittedWeights fitted = fitted_weights(model, weights, "file", Misfits::list);

  using Lines = std::vector<std::string>;
  EXPECT_EQ(fitted.skipped, (Lines{"norm.wait: the model has no such parameter",
                                   "cls_token: [1, 1, 13], the model needs [1, 1, 24]"}));
  EXPECT_EQ(fitted.missing, (Lines{"cls_token", "norm.bias"}));
  EXPECT_EQ(fitted.values.size() + 2, model.named_parameters().size());
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

std::string refusal(const nn::Encoder& model, const checkpoint::Safetensors& weights) {
  try {
    (void)fitted_weights(model, weights, "file");
  } catch (const DataError& error) {
    return error.text().what;
  }
  return "";
}

TEST(Weights, OneMessageListsAllThatDoesNotFit) {
  const nn::VisionTransformer model(shape(8, 2), 1);
  checkpoint::Safetensors weights = weights_of(model);
  tensor_of(weights, "cls_token") = at::zeros({1, 1, 13});
  weights.tensors.emplace_back("norm.wait", at::zeros({1}));
  std::erase_if(weights.tensors, [](const auto& entry) { return entry.first.starts_with("norm."); });
  weights.tensors.emplace_back("other.wait", at::zeros({1}));

  EXPECT_EQ(refusal(model, weights),
            "the weights do not fit the model; missing: norm.weight, norm.bias; unknown to the model: "
            "other.wait; of another shape: cls_token [1, 1, 13], the model needs [1, 1, 24]");
  checkpoint::Safetensors none;
  none.tensors.emplace_back("x", at::zeros({1}));
  EXPECT_NE(refusal(model, none).find(fmt::format("({} in all)", model.named_parameters().size() - 2)),
            std::string::npos)
      << "of many the first ones: " << refusal(model, none);
}

// github.com/facebookresearch/mae: a decoder beside the encoder, all of it below "model".
TEST(Weights, MaskedAutoencodersComeWithTheirDecoder) {
  nn::VitShape wanted = shape(8, 3);
  wanted.context = {};
  wanted.vocabulary.clear();
  const nn::VisionTransformer from(wanted, 1), by_cls(wanted, 2);
  wanted.pooling = nn::Pooling::mean;
  nn::VisionTransformer by_mean(wanted, 3);
  checkpoint::Safetensors file = weights_of(from);
  std::erase_if(file.tensors, [](const auto& entry) { return entry.first.starts_with("head."); });
  for (const char* name : {"mask_token", "decoder_embed.weight", "decoder_pos_embed",
                           "decoder_blocks.0.attn.qkv.weight", "decoder_norm.weight", "decoder_pred.bias"})
    file.tensors.emplace_back(name, at::zeros({1}));
  for (auto& [name, values] : file.tensors) name = "model." + name;

  const auto fitted = fitted_weights(by_cls, file, "file"), with_mean = fitted_weights(by_mean, file, "file");

  EXPECT_EQ(fitted.missing, (Names{"head.weight", "head.bias"}));
  EXPECT_TRUE(fitted.skipped.empty());
  EXPECT_TRUE(at::equal(fitted.values.at("norm.weight"), from.named_parameters()["norm.weight"]));
  EXPECT_EQ(with_mean.missing, (Names{"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}));
  EXPECT_EQ(with_mean.skipped, (Names{"norm.weight: the model has no such parameter",
                                      "norm.bias: the model has no such parameter"}));
}

nn::ResNetShape small_resnet(std::int64_t channels) {
  return {.channels = channels, .bottleneck = false, .depths = {1, 1, 1, 1}, .width = 4, .classes = 3};
}

TEST(Weights, ResidualNetworksHaveTheNamesOfTorchvision) {
  nn::ResNet from(small_resnet(3), 1), to(small_resnet(3), 2);
  for (const auto& buffer : from.named_buffers()) buffer.value().add_(0.5);
  checkpoint::Safetensors file = weights_of(from);
  file.tensors.emplace_back("bn1.num_batches_tracked", at::tensor(7, at::kLong));
  file.tensors.emplace_back("layer2.0.downsample.1.num_batches_tracked", at::tensor(7, at::kLong));

  EXPECT_TRUE(load_weights(to, file, "file"));

  const auto values = to.named_parameters(), wanted = from.named_parameters();
  for (const auto& each : wanted) EXPECT_TRUE(at::equal(each.value(), values[each.key()])) << each.key();
  const auto buffers = to.named_buffers();
  for (const auto& each : from.named_buffers())
    EXPECT_TRUE(at::equal(each.value(), buffers[each.key()])) << each.key();
  std::erase_if(file.tensors, [](const auto& entry) { return entry.first == "bn1.running_var"; });
  EXPECT_EQ(refusal(to, file), "the weights do not fit the model; missing: bn1.running_var");
}

TEST(Weights, FirstConvolutionsAreAdaptedToTheirChannels) {
  const nn::ResNet rgb(small_resnet(3), 1), gray(small_resnet(1), 2);
  const auto fitted = fitted_weights(gray, weights_of(rgb), "file");
  EXPECT_EQ(fitted.adapted, Names{"conv1.weight: 3 channels -> 1"});
  EXPECT_TRUE(
      at::allclose(fitted.values.at("conv1.weight"), rgb.named_parameters()["conv1.weight"].sum(1, true)));
}

}  // namespace
}  // namespace cohort::eval
