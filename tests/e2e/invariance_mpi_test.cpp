// World-size invariance, the headline: one configuration on 1, 2, 3 and 4 ranks has the same losses and
// weights.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "trained_result.h"

namespace cohort {
namespace {

constexpr int kSteps = 20;

struct Variant {
  std::string name;
  nn::Amortization amortization = nn::Amortization::mean_linear;
  nn::Scope scope = nn::Scope::group;
  bool plain = false;
  double dropout = 0.0;
};

void PrintTo(const Variant& variant, std::ostream* out) {
  *out << variant.name;
}

train::RunConfig configuration(const Variant& variant) {
  train::RunConfig config = e2e::nuclei_run();
  if (variant.plain) config.context.keys.clear();
  config.model.dropout = config.model.drop_path = variant.dropout;
  config.context.amortization = variant.amortization;
  config.context.scope = variant.scope;
  config.train.max_steps = kSteps;
  return config;
}

double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  const double scale = std::max(a.abs().max().item<double>(), 1e-3);
  return (a - b).abs().max().item<double>() / scale;
}

// fp32 sums over ranks in another order differ by about 1e-7 relative; twenty steps of a smooth update let
// that grow a little.
constexpr double kBound = 1e-5;

void expect_equal(const e2e::Result& expected, const e2e::Result& actual, int ranks) {
  ASSERT_EQ(expected.losses.size(), std::size_t{kSteps});
  ASSERT_EQ(actual.losses.size(), std::size_t{kSteps});
  for (std::size_t step = 0; step < expected.losses.size(); ++step) {
    EXPECT_NEAR(actual.losses[step], expected.losses[step], kBound * std::abs(expected.losses[step]))
        << "step " << step << " on " << ranks << " ranks against 4";
  }
  for (const auto& [name, weight] : expected.weights) {
    EXPECT_LE(relative_difference(weight, actual.weights.at(name)), kBound)
        << name << " on " << ranks << " ranks against 4";
  }
}

class Invariance : public ::testing::TestWithParam<Variant> {};

// The four ranks train together, then as 3 + 1, then as 2 + 2: every rank count in one launch.
TEST_P(Invariance, LossesAndWeightsDoNotDependOnTheNumberOfRanks) {
  int argc = 0;
  char** argv = nullptr;
  const comm::Session session(argc, argv, std::chrono::seconds(60));
  comm::Communicator world = session.world();
  ASSERT_EQ(world.size(), 4);

  const e2e::Result on_four = e2e::train_on(world, configuration(GetParam()));
  comm::Communicator three_and_one = world.split(world.rank() < 3 ? 0 : 1, "three and one");
  const e2e::Result on_three_or_one = e2e::train_on(three_and_one, configuration(GetParam()));
  comm::Communicator two_and_two = world.split(world.rank() / 2, "two and two");
  const e2e::Result on_two = e2e::train_on(two_and_two, configuration(GetParam()));

  EXPECT_LT(on_four.losses.back(), on_four.losses.front())
      << "it learns nothing: equal losses prove nothing then";
  expect_equal(on_four, on_three_or_one, three_and_one.size());
  expect_equal(on_four, on_two, 2);
}

std::vector<Variant> variants() {
  using enum nn::Amortization;
  std::vector<Variant> all;
  for (const auto scope : {nn::Scope::group, nn::Scope::global}) {
    for (const auto& [amortization, name] : enum_names(nn::Amortization{})) {
      if (name.starts_with("linear")) continue;  // an alias
      all.push_back({std::string(name) + "_in_" + std::string(config::enum_name(scope)) + "_scope",
                     amortization, scope});
    }
    all.push_back({"dropout_in_" + std::string(config::enum_name(scope)) + "_scope", mean_linear_layer, scope,
                   false, 0.2});
  }
  all.push_back({"plain", mean, nn::Scope::group, true});
  all.push_back({"plain_with_dropout", mean, nn::Scope::group, true, 0.2});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Variants, Invariance, ::testing::ValuesIn(variants()),
                         [](const auto& variant) { return variant.param.name; });

}  // namespace
}  // namespace cohort
