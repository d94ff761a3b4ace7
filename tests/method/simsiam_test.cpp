// SimSiam against its formula, written out in loops over the rows of each group, with the network's
// parameters read by their published names; and that the target is held fixed.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/method/conditions.h"
#include "cohort/method/two_view_losses.h"
#include "cohort/nn/initialise.h"

#include "../support/golden.h"
#include "../support/made_method.h"
#include "../support/ranks.h"
#include "../support/small_model.h"

namespace cohort::method {
namespace {

using testing::normal_values;
using testing::relative_difference;

constexpr std::int64_t kSimsiamImages = 48, kSimsiamGroup = 4;

data::Batch batch_of_two_views() {
  const at::Tensor image = at::arange(kSimsiamImages);
  data::Batch batch;
  for (std::int64_t view = 0; view < 2; ++view)
    batch.views.push_back(normal_values({kSimsiamImages, 1, 8, 8}, view));
  batch.group = image.div(kSimsiamGroup, "floor");
  batch.context = (batch.group % 3).unsqueeze(1);
  batch.sample = image * 7 + 3;
  return batch;
}

std::shared_ptr<nn::VisionTransformer> simsiam_encoder(std::int64_t /*classes*/) {
  nn::VitShape shape = testing::small_shape({"plate"}, nn::Amortization::mean_linear, {3});
  shape.dropout = 0.1;
  return std::make_shared<nn::VisionTransformer>(shape, 1);
}

std::unique_ptr<Method> made_simsiam() {
  auto method = testing::make_method(
      {"method=simsiam", "simsiam.hidden=12", "simsiam.outputs=6", "simsiam.bottleneck=16"},
      {.encoder = simsiam_encoder});
  nn::initialise(*method->parts().front().model, 1);
  const at::NoGradGuard no_grad;
  for (at::Tensor& parameter : method->parts().front().model->parameters()) {
    if (parameter.dim() > 1) parameter.mul_(4.0);
  }
  return method;
}

/// The heads of the published code, a group at a time, in fp64.
class SimsiamFormula {
 public:
  explicit SimsiamFormula(nn::UnitModel& model) : model_(model) {}

  at::Tensor projection(at::Tensor x) const {
    x = at::relu(norm(layer(x, "projector.0"), "projector.1"));
    x = at::relu(norm(layer(x, "projector.3"), "projector.4"));
    return norm(layer(x, "projector.6"), "");
  }
  at::Tensor prediction(const at::Tensor& z) const {
    return layer(at::relu(norm(layer(z, "predictor.0"), "predictor.1")), "predictor.3");
  }

 private:
  at::Tensor value(const std::string& name) const {
    const auto parameters = model_.named_parameters();
    const at::Tensor* found = parameters.find(name);
    return found == nullptr ? at::Tensor() : found->detach().to(at::kDouble);
  }
  at::Tensor layer(const at::Tensor& x, const std::string& name) const {
    const at::Tensor bias = value(name + ".bias"), product = at::mm(x, value(name + ".weight").t());
    return bias.defined() ? product + bias : product;
  }
  at::Tensor norm(const at::Tensor& x, const std::string& name) const {
    at::Tensor out = (x - x.mean(0)) / (x.var(0, /*unbiased=*/false) + 1e-5).sqrt();
    if (!name.empty()) out = out * value(name + ".weight") + value(name + ".bias");
    return out;
  }

  nn::UnitModel& model_;
};

double cosine_of(const at::Tensor& a, const at::Tensor& b) {
  const auto dot = [](const at::Tensor& x, const at::Tensor& y) { return (x * y).sum().item<double>(); };
  return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}

TEST(Simsiam, LossIsThatOfItsFormula) {
  const auto method = made_simsiam();
  nn::UnitModel& model = *method->parts().front().model;
  const data::Batch batch = batch_of_two_views();
  const Step step{3, 10, 0, kSimsiamImages, 9, nullptr};
  std::vector<at::Tensor> features;
  for (std::int64_t view = 0; view < 2; ++view) {
    const nn::Conditions seen = conditions(batch, step, nn::Scope::group, view, 1, true);
    features.push_back(
        method->encoders()
            .front()
            .encoder->encode(batch.views[static_cast<std::size_t>(view)], seen, nn::Encoder::pooled)
            .pooled.detach()
            .to(at::kDouble));
  }
  const SimsiamFormula formula(model);
  double sum = 0.0;
  for (std::int64_t group = 0; group < kSimsiamImages / kSimsiamGroup; ++group) {
    const auto of_group = [&](const at::Tensor& rows) {
      return rows.narrow(0, group * kSimsiamGroup, kSimsiamGroup);
    };
    const at::Tensor z1 = formula.projection(of_group(features[0])),
                     z2 = formula.projection(of_group(features[1]));
    const at::Tensor p1 = formula.prediction(z1), p2 = formula.prediction(z2);
    for (std::int64_t i = 0; i < kSimsiamGroup; ++i)
      sum -= cosine_of(p1[i], z2[i]) / 2 + cosine_of(p2[i], z1[i]) / 2;
  }

  Metrics metrics;
  EXPECT_NEAR(method->loss(batch, step, metrics).item<double>(), sum / kSimsiamImages, 1e-5);
}

// d/dp of -cos(p, z) by differences; z gets no gradient at all.
TEST(Simsiam, TheTargetIsHeldFixed) {
  const at::Tensor p = normal_values({3, 4}, 1).to(at::kDouble).requires_grad_(),
                   z = normal_values({3, 4}, 2).to(at::kDouble).requires_grad_();
  simsiam_sum(p, z).backward();
  EXPECT_FALSE(z.grad().defined());
  constexpr double kStep = 1e-6;
  for (std::int64_t i = 0; i < p.numel(); ++i) {
    const auto moved = [&](double by) {
      const at::Tensor other = p.detach().clone();
      other.view({-1})[i] += by;
      double sum = 0.0;
      for (std::int64_t row = 0; row < 3; ++row) sum -= cosine_of(other[row], z.detach()[row]);
      return sum;
    };
    EXPECT_NEAR(p.grad().view({-1})[i].item<double>(), (moved(kStep) - moved(-kStep)) / (2 * kStep), 1e-8);
  }
}

// Nothing of the norm behind the projector is learnt, and layers in front of a norm have no bias.
TEST(Simsiam, ParametersAreThePublishedOnes) {
  std::vector<std::string> names;
  for (const auto& parameter : made_simsiam()->parts().front().model->named_parameters()) {
    if (!parameter.key().starts_with("backbone.")) names.push_back(parameter.key());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"projector.0.weight", "projector.1.weight", "projector.1.bias",
                                             "projector.3.weight", "projector.4.weight", "projector.4.bias",
                                             "projector.6.weight", "predictor.0.weight", "predictor.1.weight",
                                             "predictor.1.bias", "predictor.3.weight", "predictor.3.bias"}));
}

TEST(Simsiam, SharesOfRanksAddUpToTheWhole) {
  comm::Communicator world = test::world();
  const data::Batch all = batch_of_two_views();
  const auto loss_of = [&](comm::Communicator* ranks) {
    const auto method = made_simsiam();
    const std::int64_t parts = ranks == nullptr ? 1 : ranks->size(), part = ranks ? ranks->rank() : 0;
    Metrics metrics;
    return method
        ->loss(data::groups_of(all, parts, part, part + 1), {0, 10, 0, kSimsiamImages, 9, ranks}, metrics)
        .item<double>();
  };
  EXPECT_NEAR(world.sum(loss_of(&world)), loss_of(nullptr), 1e-5);
}

TEST(Simsiam, NeedsTwoViews) {
  const auto method = made_simsiam();
  data::Batch batch = batch_of_two_views();
  batch.views.resize(1);
  Metrics metrics;
  EXPECT_THROW(method->loss(batch, {.total_steps = 1, .global_images = kSimsiamImages}, metrics), Bug);
}

}  // namespace
}  // namespace cohort::method
