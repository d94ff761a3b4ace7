// Supervised learning of flags, numbers and masks: on any number of ranks and in any number of parts the loss
// and the gradients of one plain graph.
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/comm/session.h"
#include "cohort/core/error.h"
#include "cohort/method/field_losses.h"
#include "cohort/nn/resnet.h"

#include "../support/golden.h"
#include "../support/made_method.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using testing::normal_values;
using testing::relative_difference;

constexpr std::int64_t kFieldGroups = 12, kFieldImages = 2 * kFieldGroups;

data::Description described() {
  using enum data::FieldKind;
  using enum data::ValueType;
  data::Description description;
  description.images = {data::PixelType::u8, 1, 8, 8};
  description.fields = {{"findings", flags, u8, {3}, data::Codec::raw, "", {"a", "b", "c"}},
                        {"age", numbers, f32, {2}},
                        {"cells", mask, u8, {8, 8}, data::Codec::raw, "", {"background", "cell", "nucleus"}}};
  return description;
}

/// Values that are not known lie unevenly, so that ranks know different numbers of them.
data::Batch field_batch() {
  const at::Tensor image = at::arange(kFieldImages);
  data::Batch batch;
  batch.views = {normal_values({kFieldImages, 1, 8, 8})};
  batch.group = image.div(2, "floor");
  batch.context = (batch.group % 3).unsqueeze(1);
  batch.sample = image * 7 + 3;
  const auto some = [](at::Tensor values, double unknown, double until) {
    const at::Tensor place = at::arange(values.numel()).view(values.sizes());
    const at::Tensor hidden =
        place.lt(until * static_cast<double>(values.numel())).logical_and(place.remainder(3).ne(0));
    return values.masked_fill_(hidden, unknown);
  };
  batch.columns["findings"].values = some(normal_values({kFieldImages, 3}, 1).gt(0).to(at::kByte), 255, 0.4);
  batch.columns["age"].values =
      some(normal_values({kFieldImages, 2}, 2), std::numeric_limits<double>::quiet_NaN(), 0.4);
  batch.columns["cells/0"].values =
      some((normal_values({kFieldImages, 8, 8}, 3) * 1.5).abs().clamp_max(2).to(at::kByte), 255, 0.4);
  return batch;
}

data::Batch part_of_field_batch(std::int64_t part, std::int64_t parts) {
  return data::groups_of(field_batch(), kFieldGroups, kFieldGroups * part / parts,
                         kFieldGroups * (part + 1) / parts);
}

struct FieldCase {
  std::string name;
  std::vector<std::string> settings;
  std::string column;
  std::int64_t outputs;
  bool is_dense = false;
  /// The loss of all images, by their outputs.
  std::function<at::Tensor(const at::Tensor& outputs, const at::Tensor& values)> loss;
};

void PrintTo(const FieldCase& row, std::ostream* out) {
  *out << row.name;
}

std::unique_ptr<method::Method> make_field_method(const std::vector<std::string>& settings,
                                                  const data::Description& description = described(),
                                                  double drop_path = 0.2) {
  const auto encoder = [&](std::int64_t classes) {
    nn::VitShape shape = testing::small_shape({"plate"}, nn::Amortization::mean_linear, {3});
    shape.classes = classes;
    shape.drop_path = drop_path;
    return testing::small_model(shape, /*gain=*/3.0);
  };
  auto method = testing::make_method(settings, {.encoder = encoder, .description = description});
  for (const method::Part& part : method->parts()) {
    if (part.model != method->encoders().front().encoder) nn::initialise(*part.model, 11);
  }
  return method;
}

std::map<std::string, at::Tensor> gradients_of(const nn::UnitModel& model) {
  std::map<std::string, at::Tensor> found;
  for (const auto& parameter : model.named_parameters()) {
    const at::Tensor& gradient = parameter.value().grad();
    found[parameter.key()] = gradient.defined() ? gradient.clone() : at::zeros_like(parameter.value());
  }
  return found;
}

class SupervisedFields : public ::testing::TestWithParam<FieldCase> {
 protected:
  /// Loss and gradients of this rank's share, in `parts` micro-batches.
  double learn(method::Method& method, int parts) {
    const data::Batch mine = part_of_field_batch(world_.rank(), world_.size());
    method.begin_step(mine, step_);
    std::vector<data::Batch> divided;
    const std::int64_t groups = kFieldGroups / world_.size();
    for (std::int64_t i = 0; i < parts; ++i)
      divided.push_back(data::groups_of(mine, groups, groups * i / parts, groups * (i + 1) / parts));
    method.prepare(divided, step_);
    double loss = 0;
    for (const data::Batch& part : divided) {
      const at::Tensor share = method.loss(part, step_, metrics_);
      share.backward();
      loss += share.item<double>();
    }
    return world_.sum(loss);
  }

  int argc_ = 0;
  char** argv_ = nullptr;
  comm::Session session_{argc_, argv_, std::chrono::seconds(60)};
  comm::Communicator world_ = session_.world();
  method::Step step_{.step = 4, .global_images = kFieldImages, .seed = 21, .ranks = &world_};
  method::Metrics metrics_;
};

TEST_P(SupervisedFields, SharesAddUpToTheLossAndGradientsOfAllImages) {
  const FieldCase& row = GetParam();
  const auto whole = make_field_method(row.settings);
  const data::Batch all = field_batch();
  method::Step alone = step_;
  alone.ranks = nullptr;
  method::Metrics metrics;
  whole->begin_step(all, alone);
  whole->prepare(std::vector<data::Batch>{all}, alone);
  const at::Tensor expected = whole->loss(all, alone, metrics);
  expected.backward();
  const auto expected_gradients = gradients_of(*whole->parts().front().model);

  for (const int parts : {1, 3}) {
    if (kFieldGroups / world_.size() % parts != 0) continue;
    SCOPED_TRACE(parts);
    const auto method = make_field_method(row.settings);
    EXPECT_NEAR(learn(*method, parts), expected.item<double>(), 1e-5 * expected.item<double>());
    for (auto& [name, gradient] : gradients_of(*method->parts().front().model)) {
      at::Tensor sum = gradient.contiguous();
      world_.all_reduce(sum).wait();
      EXPECT_LE(relative_difference(sum, expected_gradients.at(name)), 5e-5) << name;
    }
  }
}

// Without dropout the outputs of training are the answers, and the loss is the formula of the header.
TEST_P(SupervisedFields, TheLossIsThatOfTheAnswers) {
  const FieldCase& row = GetParam();
  const auto method = make_field_method(row.settings, described(), /*drop_path=*/0.0);
  const data::Batch all = field_batch();
  const nn::Conditions seen{.context = all.context, .group = all.group, .sample = all.sample};
  const method::Answers answers = method->answer(all, seen);
  ASSERT_EQ(answers.size(), 1U);
  const auto& [name, outputs] = *answers.begin();
  EXPECT_EQ(name, row.column == "age" ? "values" : "logits");
  EXPECT_FALSE(outputs.requires_grad());
  EXPECT_EQ(outputs.scalar_type(), at::kFloat);
  const std::vector<std::int64_t> sizes = row.is_dense
                                              ? std::vector<std::int64_t>{kFieldImages, row.outputs, 8, 8}
                                              : std::vector<std::int64_t>{kFieldImages, row.outputs};
  EXPECT_EQ(outputs.sizes(), at::IntArrayRef(sizes));
  const double expected = row.loss(outputs.to(at::kDouble), all.columns.at(row.column).values).item<double>();
  EXPECT_NEAR(learn(*method, 1), expected, 1e-5 * expected);
}

TEST_P(SupervisedFields, NothingKnownCostsNothing) {
  const auto method = make_field_method(GetParam().settings);
  data::Batch batch = part_of_field_batch(world_.rank(), world_.size());
  at::Tensor& values = batch.columns.at(GetParam().column).values;
  values = at::full_like(values, values.is_floating_point() ? std::nan("") : 255.0);
  method->begin_step(batch, step_);
  method->prepare(std::vector<data::Batch>{batch}, step_);
  const at::Tensor loss = method->loss(batch, step_, metrics_);
  loss.backward();
  EXPECT_EQ(loss.item<double>(), 0.0);
  for (const auto& [name, gradient] : gradients_of(*method->parts().front().model))
    EXPECT_EQ(gradient.abs().max().item<double>(), 0.0) << name;
  for (const method::Metrics::Entry& entry : metrics_.entries()) EXPECT_EQ(entry.count, 0) << entry.name;
}

at::Tensor mean_of_known(const at::Tensor& losses, const at::Tensor& known) {
  return losses.masked_select(known).mean();
}
at::Tensor logistic(const at::Tensor& logits, const at::Tensor& yes) {
  return at::log1p(at::exp(at::where(yes, -logits, logits)));
}
at::Tensor entropy_of_pixels(const at::Tensor& logits, const at::Tensor& mask) {
  const at::Tensor classes = mask.to(at::kLong).clamp_max(logits.size(1) - 1).unsqueeze(1);
  return mean_of_known(-logits.log_softmax(1).gather(1, classes).squeeze(1), mask.ne(255));
}
at::Tensor dice_of_pixels(const at::Tensor& probabilities, const at::Tensor& mask, bool by_class) {
  const at::Tensor known = mask.ne(255).unsqueeze(1),
                   classes = at::arange(probabilities.size(1)).view({1, -1, 1, 1});
  const at::Tensor truth = mask.unsqueeze(1).eq(classes).to(at::kDouble), p = probabilities * known;
  const std::vector<std::int64_t> dims =
      by_class ? std::vector<std::int64_t>{0, 2, 3} : std::vector<std::int64_t>{0, 1, 2, 3};
  return (1 - 2 * (p * truth).sum(dims) / (p.sum(dims) + truth.sum(dims))).mean();
}

const std::string kSegments = "supervised.task=segmentation";
const std::vector<FieldCase> kFieldCases{
    {"multilabel",
     {"supervised.task=multilabel"},
     "findings",
     3,
     false,
     [](const at::Tensor& z, const at::Tensor& y) { return mean_of_known(logistic(z, y.eq(1)), y.ne(255)); }},
    {"multilabel_mlp",
     {"supervised.task=multilabel", "supervised.head=mlp", "supervised.hidden=8"},
     "findings",
     3,
     false,
     [](const at::Tensor& z, const at::Tensor& y) { return mean_of_known(logistic(z, y.eq(1)), y.ne(255)); }},
    {"regression",
     {"supervised.task=regression"},
     "age",
     2,
     false,
     [](const at::Tensor& v, const at::Tensor& n) { return mean_of_known(at::square(v - n), n.eq(n)); }},
    {"regression_huber",
     {"supervised.task=regression", "supervised.loss=huber", "supervised.head=mlp"},
     "age",
     2,
     false,
     [](const at::Tensor& v, const at::Tensor& n) {
       const at::Tensor d = (v - n).abs();
       return mean_of_known(at::where(d.lt(1), d * d / 2, d - 0.5), n.eq(n));
     }},
    {"segmentation", {kSegments}, "cells/0", 3, true, entropy_of_pixels},
    {"segmentation_bce",
     {kSegments, "supervised.loss=bce"},
     "cells/0",
     3,
     true,
     [](const at::Tensor& z, const at::Tensor& mask) {
       const at::Tensor yes = mask.unsqueeze(1).eq(at::arange(3).view({1, 3, 1, 1}));
       return mean_of_known(logistic(z, yes), mask.ne(255).unsqueeze(1).expand_as(yes));
     }},
    {"segmentation_dice",
     {kSegments, "supervised.loss=dice"},
     "cells/0",
     3,
     true,
     [](const at::Tensor& z, const at::Tensor& mask) { return dice_of_pixels(z.sigmoid(), mask, false); }},
    {"segmentation_dice_cross_entropy",
     {kSegments, "supervised.loss=dice_cross_entropy", "supervised.dice_classes=per_class"},
     "cells/0",
     3,
     true,
     [](const at::Tensor& z, const at::Tensor& mask) {
       return dice_of_pixels(z.softmax(1), mask, true) + entropy_of_pixels(z, mask);
     }},
    {"segmentation_mask_transformer",
     {kSegments, "supervised.head=mask_transformer", "supervised.decoder_width=16",
      "supervised.decoder_heads=2"},
     "cells/0",
     3,
     true,
     entropy_of_pixels},
    {"segmentation_fpn",
     {kSegments, "supervised.head=fpn", "supervised.pyramid_width=8"},
     "cells/0",
     3,
     true,
     entropy_of_pixels}};

INSTANTIATE_TEST_SUITE_P(All, SupervisedFields, ::testing::ValuesIn(kFieldCases),
                         [](const auto& test) { return test.param.name; });

TEST(SupervisedField, LinearHeadsOfWholeImagesAreTheEncodersOwn) {
  for (const char* task : {"supervised.task=multilabel", "supervised.task=regression"}) {
    testing::ChosenMethod chosen;
    testing::set_options(chosen, {task});
    EXPECT_TRUE(chosen.choice.traits().is_encoder_alone);
    EXPECT_FALSE(chosen.choice.traits().learns_classes);
    const auto method = make_field_method({task});
    EXPECT_EQ(method->parts().front().model, method->encoders().front().encoder);
  }
  testing::ChosenMethod chosen;
  testing::set_options(chosen, {kSegments});
  EXPECT_EQ(chosen.choice.traits().task, "segmentation");
  EXPECT_FALSE(chosen.choice.traits().is_encoder_alone);
}

TEST(SupervisedField, TheTargetIsTheOnlyFieldOfItsKindOrTheNamedOne) {
  const auto fields = [](const std::vector<std::string>& settings, const data::Description& description) {
    testing::ChosenMethod chosen;
    testing::set_options(chosen, settings);
    return chosen.choice.entry().fields(chosen.choice.options(), description);
  };
  data::Description description = described();
  EXPECT_EQ(fields({}, description), std::vector<std::string>{});
  EXPECT_EQ(fields({"supervised.task=multilabel"}, description), std::vector<std::string>{"findings"});
  description.fields.push_back(description.fields.back());
  description.fields.back().name = "nuclei";
  EXPECT_EQ(fields({kSegments, "supervised.target=nuclei"}, description), std::vector<std::string>{"nuclei"});
  EXPECT_THROW(fields({kSegments}, description), UsageError) << "two masks";
}

std::string refusal(const std::vector<std::string>& settings,
                    const data::Description& description = described()) {
  testing::ChosenMethod chosen;
  testing::set_options(chosen, settings);
  try {
    chosen.choice.entry().check(chosen.choice.options(), {}, "run.yaml");
    (void)make_field_method(settings, description);
  } catch (const UsageError& error) {
    return error.text().what + " / " + error.text().fix;
  }
  return "";
}

TEST(SupervisedField, RefusesWhatDoesNotGoTogether) {
  const std::string multilabel = "supervised.task=multilabel";
  const auto expect_refused = [](const std::string& actual, const std::string& expected) {
    EXPECT_NE(actual.find(expected), std::string::npos) << "got: " << actual;
  };
  EXPECT_EQ(refusal({multilabel}), "");
  expect_refused(refusal({multilabel, "supervised.head=fpn"}),
                 "supervised.head=fpn is none of supervised.task=multilabel / use linear, mlp");
  expect_refused(refusal({multilabel, "supervised.loss=dice"}), "supervised.loss=dice is none of");
  expect_refused(refusal({multilabel, "supervised.mixup=0.2"}), "supervised.mixup is for classification");
  expect_refused(refusal({multilabel, "supervised.window=8"}), "other tasks answer whole images");
  expect_refused(refusal({kSegments, "supervised.window=8", "supervised.stride=9"}), "leaves pixels between");
  expect_refused(refusal({"supervised.target=age"}), "classification learns data.label");
  expect_refused(refusal({multilabel, "supervised.target=finding"}), "did you mean 'findings'?");
  expect_refused(refusal({multilabel, "supervised.target=age"}), "no field 'age' of kind flags");
  expect_refused(refusal({kSegments, "supervised.head=unet"}), "joins maps of every stride");
  expect_refused(refusal({kSegments, "supervised.decoder_width=30"}), "does not divide");
  data::Description two = described();
  two.fields.back().names = {"background", "cell"};
  expect_refused(refusal({kSegments, "supervised.head=mask_transformer", "supervised.loss=dice"}, two),
                 "one output stands for both of two");
  two.fields.back().names.clear();
  expect_refused(refusal({kSegments}, two), "names 0 classes");
  two.fields.clear();
  expect_refused(refusal({kSegments}, two), "of which the dataset has none");
}

// One window of all pixels is the whole image; smaller ones are the mean of what they say.
TEST(SupervisedField, AnswersByWindows) {
  const data::Batch all = field_batch();
  const nn::Conditions seen{.context = all.context, .group = all.group, .sample = all.sample};
  const auto logits = [&](const std::vector<std::string>& more, const data::Batch& batch) {
    std::vector<std::string> settings{kSegments};
    settings.insert(settings.end(), more.begin(), more.end());
    return make_field_method(settings)->answer(batch, seen).at("logits");
  };
  const at::Tensor whole = logits({}, all);
  EXPECT_LE(relative_difference(logits({"supervised.window=8"}, all), whole), 1e-6);
  data::Batch upper;
  upper.views = {all.views[0].narrow(2, 0, 4).narrow(3, 0, 4)};
  const at::Tensor by_windows = logits({"supervised.window=4", "supervised.stride=4"}, all);
  EXPECT_LE(relative_difference(by_windows.narrow(2, 0, 4).narrow(3, 0, 4), logits({}, upper)), 1e-6);
  EXPECT_GT(relative_difference(by_windows, whole), 1e-3);
}

TEST(SupervisedField, AUnetNeedsImagesThatItCanHalve) {
  const auto resnet = [](std::int64_t) -> std::shared_ptr<nn::Encoder> {
    nn::ResNetShape shape;
    shape.channels = 1;
    shape.bottleneck = false;
    shape.depths = {1, 1, 1, 1};
    shape.width = 4;
    return std::make_shared<nn::ResNet>(shape, 1);
  };
  data::Description description = described();
  const std::vector<std::string> settings{kSegments, "supervised.head=unet"};
  EXPECT_THROW(testing::make_method(settings, {.encoder = resnet, .description = description}), UsageError);
  description.images.height = description.images.width = 32;
  const auto method = testing::make_method(settings, {.encoder = resnet, .description = description});
  nn::initialise(*method->parts().front().model, 3);
  data::Batch batch;
  batch.views = {normal_values({2, 1, 32, 32})};
  EXPECT_EQ(method->answer(batch, {}).at("logits").sizes(), (at::IntArrayRef{2, 3, 32, 32}));
}

}  // namespace
}  // namespace cohort
