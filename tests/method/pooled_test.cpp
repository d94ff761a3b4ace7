// Losses over all images of a step: on any number of ranks, in any number of parts, those of one plain graph.
#include "cohort/method/pooled.h"

#include <chrono>
#include <memory>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>

#include "cohort/comm/session.h"
#include "cohort/nn/unit_model.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

constexpr std::int64_t kPooledGroups = 12, kPooledImages = 2 * kPooledGroups, kRowWidth = 6;

// log-softmax of all pairs: every row's gradient depends on all others, and on its place.
at::Tensor loss_of(const at::Tensor& rows) {
  const at::Tensor flat = rows.flatten(1);
  const at::Tensor weight = at::arange(1, flat.size(0) + 1).to(flat.options());
  return -(at::log_softmax(flat.matmul(flat.t()), 1).diag() * weight).mean();
}

class Net final : public nn::UnitModel {
 public:
  Net() : linear_(register_module("linear", torch::nn::Linear(4, kRowWidth))) {}
  at::Tensor forward(const at::Tensor& x) { return linear_->forward(x).tanh(); }

 private:
  torch::nn::Linear linear_;
};

class Pairs final : public method::PooledMethod {
 public:
  explicit Pairs(std::shared_ptr<Net> net) : net_(std::move(net)) {}
  std::vector<method::Part> parts() override { return {}; }
  std::vector<method::NamedEncoder> encoders() override { return {}; }
  at::Tensor embed(const data::Batch& batch, const method::Step& /*step*/,
                   method::Metrics& metrics) override {
    metrics.add("seen", 1.0, 1);
    return net_->forward(batch.views[0].flatten(1));
  }
  at::Tensor loss_of_all(const at::Tensor& rows, const method::Step& /*step*/,
                         method::Metrics& metrics) override {
    metrics.add("rows", static_cast<double>(rows.size(0)), 1);
    return loss_of(rows);
  }

 private:
  std::shared_ptr<Net> net_;
};

std::shared_ptr<Net> net() {
  auto result = std::make_shared<Net>();
  const at::NoGradGuard no_gradients;
  for (auto& parameter : result->named_parameters()) {
    const at::Tensor ramp = at::arange(parameter->numel()).to(at::kFloat).view(parameter->sizes());
    parameter->copy_((ramp * 0.37).sin());
  }
  return result;
}

data::Batch groups(std::int64_t begin, std::int64_t end) {
  data::Batch batch;
  batch.views = {testing::normal_values({kPooledImages, 1, 2, 2}).narrow(0, 2 * begin, 2 * (end - begin))};
  batch.sample = at::arange(2 * begin, 2 * end);
  return batch;
}

struct Computed {
  double loss = 0;
  std::vector<at::Tensor> gradients;
  method::Metrics metrics;
};

/// A rank's share of the step, in `parts` parts.
Computed step_of(comm::Communicator& ranks, std::int64_t parts) {
  const auto model = net();
  Pairs method(model);
  const method::Step step{.global_images = kPooledImages, .ranks = &ranks};
  const std::int64_t own = kPooledGroups / ranks.size(), first = own * ranks.rank();
  std::vector<data::Batch> all;
  for (std::int64_t i = 0; i < parts; ++i)
    all.push_back(groups(first + own * i / parts, first + own * (i + 1) / parts));
  method.prepare(all, step);
  Computed computed;
  for (const data::Batch& part : all) {
    const at::Tensor loss = method.loss(part, step, computed.metrics);
    loss.backward();
    computed.loss += loss.item<double>();
  }
  for (const at::Tensor& parameter : model->parameters()) computed.gradients.push_back(parameter.grad());
  return computed;
}

class Pooled : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(Pooled, LossAndGradientsAreThoseOfOneGraph) {
  int argc = 0;
  char** argv = nullptr;
  const comm::Session session(argc, argv, std::chrono::seconds(30));
  comm::Communicator ranks = session.world();
  const auto plain = net();
  const at::Tensor wanted = loss_of(plain->forward(groups(0, kPooledGroups).views[0].flatten(1)));
  wanted.backward();

  const Computed computed = step_of(ranks, GetParam());

  at::Tensor loss = at::full({1}, computed.loss, at::kDouble);
  ranks.all_reduce(loss).wait();
  EXPECT_NEAR(loss.item<double>(), wanted.item<double>(), 1e-6);
  const std::vector<at::Tensor> expected = plain->parameters();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    at::Tensor gradient = computed.gradients[i].clone();
    ranks.all_reduce(gradient).wait();
    EXPECT_LE(testing::relative_difference(gradient, expected[i].grad()), 2e-6);
  }
  const auto& entries = computed.metrics.entries();
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].name + " " + entries[1].name, "seen rows");
  EXPECT_EQ(entries[0].count, GetParam()) << "what the first of two passes adds does not count";
  EXPECT_EQ(entries[1].sum, kPooledImages);
  EXPECT_EQ(entries[1].count, 1);
}

INSTANTIATE_TEST_SUITE_P(Parts, Pooled, ::testing::Values(1, 3));

}  // namespace
}  // namespace cohort
