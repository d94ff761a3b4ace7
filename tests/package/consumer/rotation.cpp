// A method that is not part of Cohort: an encoder learns by how much its images were turned, without labels
// (Gidaris, Singh and Komodakis, arXiv 1803.07728). The program is `cohort` with one method more.
#include <memory>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>

#include "cohort/method/conditions.h"
#include "cohort/method/registry.h"
#include "cohort/nn/encoder.h"
#include "cohort/program.h"

namespace {

using namespace cohort;

constexpr std::int64_t kTurns = 4;

struct RotationOptions {
  double smoothing = 0.0;

  template <class Visit>
  void fields(Visit& visit) {
    visit("smoothing", smoothing, "part of the target spread evenly over all turns",
          config::Range{0.0, 0.99});
  }
};

/// An encoder and a linear layer on its features.
class RotationNetwork final : public nn::UnitModel {
 public:
  explicit RotationNetwork(std::shared_ptr<nn::Encoder> encoder)
      : encoder_(add_tower("backbone", std::move(encoder))),
        head_(register_module("head",
                              std::make_shared<torch::nn::LinearImpl>(encoder_->traits().width, kTurns))) {}

  [[nodiscard]] const std::shared_ptr<nn::Encoder>& encoder() const { return encoder_; }
  /// [B, 4]
  at::Tensor forward(const at::Tensor& images, const nn::Conditions& seen) {
    return head_->forward(encoder_->encode(images, seen, nn::Encoder::pooled).pooled);
  }

 private:
  std::shared_ptr<nn::Encoder> encoder_;
  std::shared_ptr<torch::nn::LinearImpl> head_;
};

/// Image i [C, h, h] of step s is turned by i + s quarter turns. Metric: "turns_found".
class Rotation final : public method::Method {
 public:
  Rotation(std::shared_ptr<RotationNetwork> network, const RotationOptions& options, nn::Scope scope)
      : network_(std::move(network)), options_(options), scope_(scope) {}

  std::vector<method::Part> parts() override { return {{"model", network_}}; }
  std::vector<method::NamedEncoder> encoders() override { return {{"model", network_->encoder(), "model"}}; }

  at::Tensor loss(const data::Batch& batch, const method::Step& step, method::Metrics& metrics) override {
    const at::Tensor turns = (batch.sample + step.step).remainder(kTurns);  // [B]
    const nn::Conditions seen = method::conditions(batch, step, scope_, 0, 1, /*training=*/true);
    const at::Tensor logits = network_->forward(turned(batch.views[0], turns), seen).to(at::kFloat);
    const at::Tensor target = turns.to(logits.device());
    metrics.add("turns_found", logits.argmax(1).eq(target).sum().item<double>(), turns.size(0));
    const at::Tensor sum =
        at::cross_entropy_loss(logits, target, {}, at::Reduction::Sum, -100, options_.smoothing);
    return sum / static_cast<double>(step.global_images);  // this rank's share of the mean over all ranks
  }

 private:
  static at::Tensor turned(const at::Tensor& images, const at::Tensor& turns) {
    std::vector<at::Tensor> all;
    for (std::int64_t i = 0; i < images.size(0); ++i)
      all.push_back(at::rot90(images[i], turns[i].item<std::int64_t>(), {1, 2}));
    return at::stack(all);
  }

  std::shared_ptr<RotationNetwork> network_;
  RotationOptions options_;
  nn::Scope scope_;
};

method::Entry rotation() {
  return {.name = "rotation",
          .sentence = "from the turns of images without labels",
          .section = "the loss",
          .options = config::default_options<RotationOptions>,
          .traits = [](const config::Options&) { return method::Traits{}; },
          .make = [](const config::Options& options,
                     const method::Materials& materials) -> std::unique_ptr<method::Method> {
            auto network = std::make_shared<RotationNetwork>(materials.encoder("image", /*classes=*/0));
            return std::make_unique<Rotation>(network, config::values_of<RotationOptions>(options),
                                              materials.scope);
          }};
}

}  // namespace

int main(int argc, char** argv) {
  method::add(rotation());
  return run_cohort(argc, argv);
}
