// Files of the kinds domains.*: losses of domain adaptation.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/method/adaptation_losses.h"
#include "cohort/nn/projection_head.h"

#include "checks.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

constexpr double kEpsilonOfPublishedCode = 1e-5;

/// As the README of the files has them, of outputs and gradients.
std::pair<double, double> tolerances_of(Comparison& file) {
  static const std::map<std::string, std::pair<double, double>> table{
      {"dal_losses", {5e-5, 1e-5}},
      {"dal_losses_absent_class", {5e-5, 5e-5}},
      {"dal_losses_random_map", {2e-5, 2e-5}},
      {"dal_multi_domain", {1e-5, 1e-5}}};
  return table.at(file.about().at("name"));
}

Tolerance outputs_of(Comparison& file) {
  return {tolerances_of(file).first};
}

/// Biases in front of a batch normalisation have gradient 0 in theory.
Tolerance gradients_of_domains(Comparison& file) {
  return {tolerances_of(file).second, 1e-6};
}

nn::Conditions in_training() {
  nn::Conditions conditions;
  conditions.training = true;
  return conditions;
}

/// The published discriminator, whose last layer is called `last`.
class Discriminator {
 public:
  Discriminator(Comparison& file, std::string last) : file_(file), last_(std::move(last)) {
    const at::Tensor &first = file.input("param.discriminator.0.weight"),
                     &outputs = file.input("param.discriminator." + last_ + ".weight");
    head_ = std::make_shared<nn::ProjectionHead>(nn::ProjectionHeadShape{
        .width = first.size(1), .hidden = first.size(0), .outputs = outputs.size(0), .layers = 3});
    const at::NoGradGuard no_gradients;
    for (auto& parameter : head_->named_parameters())
      parameter.value().copy_(file.input("param.discriminator." + published(parameter.key())));
  }

  at::Tensor forward(const at::Tensor& rows) { return head_->forward(rows, in_training()); }

  /// Of the last backward pass, and clears them.
  void compare(const std::string& prefix) {
    for (auto& parameter : head_->named_parameters()) {
      Tolerance tolerance = gradients_of_domains(file_);
      const bool imprecise = file_.about().at("name") == "dal_losses" && prefix == "grad.cdan.discriminator.";
      if (imprecise && parameter.key() == "6.bias") tolerance.relative = 5e-4;
      file_.tensor(prefix + published(parameter.key()), parameter.value().grad(), tolerance);
      parameter.value().mutable_grad() = at::Tensor();
    }
  }

 private:
  [[nodiscard]] std::string published(const std::string& name) const {
    return name.starts_with("6.") ? last_ + name.substr(1) : name;
  }

  Comparison& file_;
  std::string last_;
  std::shared_ptr<nn::ProjectionHead> head_;
};

/// Features and logits of both domains, with gradients.
struct Sets {
  at::Tensor f_source, f_target, g_source, g_target, labels;

  explicit Sets(Comparison& file)
      : f_source(leaf(file.float_input("in.f_source"))),
        f_target(leaf(file.float_input("in.f_target"))),
        g_source(leaf(file.float_input("in.g_source"))),
        g_target(leaf(file.float_input("in.g_target"))),
        labels(file.input("in.labels")) {}

  void compare(Comparison& file, const std::string& loss) {
    for (const auto& [name, values] : {std::pair{"f_source", &f_source}, std::pair{"f_target", &f_target},
                                       std::pair{"g_source", &g_source}, std::pair{"g_target", &g_target}}) {
      file.tensor_if_there("grad." + loss + "." + name, values->grad(), gradients_of_domains(file));
      values->mutable_grad() = at::Tensor();
    }
  }
};

void compare_loss(Comparison& file, const std::string& name, const at::Tensor& loss, Sets& sets) {
  file.tensor("loss." + name, loss, outputs_of(file));
  if (file.names("grad." + name + ".").empty()) return;
  loss.backward();
  sets.compare(file, name);
}

at::Tensor map_of(Comparison& file, const at::Tensor& features, const at::Tensor& logits) {
  if (!file.has("in.random_f")) return method::conditioned_features(features, logits);
  return method::randomly_conditioned_features(features, logits, file.float_input("in.random_f"),
                                               file.float_input("in.random_g"));
}

void check_adversary(Comparison& file, Sets& sets) {
  const Tolerance outputs = outputs_of(file);
  Discriminator discriminator(file, "6.0");
  const std::int64_t sources = sets.f_source.size(0), targets = sets.f_target.size(0);
  const at::Tensor domain = at::cat({at::ones({sources}, at::kLong), at::zeros({targets}, at::kLong)});
  const double coefficient = method::reversal_coefficient(file.about().at("config").at("reversal_step"));
  for (const bool weighted : {false, true}) {
    const at::Tensor logits = at::cat({sets.g_source, sets.g_target});
    const at::Tensor map = map_of(file, at::cat({sets.f_source, sets.f_target}), logits);
    const at::Tensor verdict = discriminator.forward(method::reversed_gradient(map, coefficient));
    const at::Tensor weights = method::certainty_weights(logits);
    const std::string name = weighted ? "cdan_entropy" : "cdan";
    if (weighted) {
      file.tensor("out.cdan_map", map, outputs);
      file.tensor("out.cdan_domain_probability", verdict.sigmoid().flatten(), outputs);
      file.tensor("out.cdan_weights", weights, outputs);
      file.tensor("loss.cdan_entropy_eps1e-5",
                  method::domain_cross_entropy(verdict, domain,
                                               method::certainty_weights(logits, kEpsilonOfPublishedCode)),
                  outputs);
    }
    compare_loss(file, name, method::domain_cross_entropy(verdict, domain, weighted ? weights : at::Tensor()),
                 sets);
    discriminator.compare("grad." + name + ".discriminator.");
  }
}

void check_discrepancies(Comparison& file, Sets& sets) {
  file.input("scalar.mmd_sigma2");  // the width of the kernels, which all that follows depends on
  compare_loss(file, "mmd", method::mean_discrepancy(sets.f_source, sets.f_target), sets);
  compare_loss(file, "mmd_unbiased",
               method::mean_discrepancy(sets.f_source, sets.f_target, /*unbiased=*/true), sets);
  for (const bool hard : {false, true}) {
    const std::string name = hard ? "pmmd_hard" : "pmmd_soft";
    const auto [loss, classes] = method::class_discrepancy(
        sets.f_source, sets.labels, sets.f_target, sets.g_target,
        hard ? std::optional(file.about().at("config").at("tau").get<double>()) : std::nullopt);
    file.tensor("out." + name + "_classes", classes, kExact);
    compare_loss(file, name, loss, sets);
  }
}

}  // namespace

void check_dal_losses(Comparison& file) {
  const Tolerance outputs = outputs_of(file);
  const double temperature = file.about().at("config").at("temperature");
  Sets sets(file);
  compare_loss(file, "source_cross_entropy", at::cross_entropy_loss(sets.g_source, sets.labels), sets);
  check_adversary(file, sets);
  check_discrepancies(file, sets);
  file.tensor("out.mcc_matrix", method::class_confusion_matrix(sets.g_target, temperature), outputs);
  file.tensor("out.mcc_weights", method::certainty_weights(sets.g_target / temperature), outputs);
  compare_loss(file, "mcc", method::class_confusion(sets.g_target, temperature), sets);
  compare_loss(file, "mcc_eps1e-5",
               method::class_confusion(sets.g_target, temperature, kEpsilonOfPublishedCode), sets);
  const method::Information information = method::information(sets.g_target);
  file.tensor("loss.im_conditional_entropy", information.conditional, outputs);
  file.tensor("loss.im_marginal_entropy", information.marginal, outputs);
  compare_loss(file, "im", information.conditional - information.marginal, sets);
}

void check_dal_multi_domain(Comparison& file) {
  const Tolerance outputs = outputs_of(file);
  Discriminator discriminator(file, "6");
  const at::Tensor f = leaf(file.float_input("in.f")), g = file.float_input("in.g"),
                   domain = file.input("in.domain");
  const double coefficient = method::reversal_coefficient(file.about().at("config").at("reversal_step"));
  const at::Tensor logits =
      discriminator.forward(method::reversed_gradient(method::conditioned_features(f, g), coefficient));
  const at::Tensor weights = method::certainty_weights(g);
  const at::Tensor loss = method::domain_cross_entropy(logits, domain, weights);
  loss.backward();
  file.tensor("out.logits", logits, outputs);
  file.tensor("out.weights", weights, outputs);
  file.tensor("out.accuracy", logits.argmax(1).eq(domain).to(at::kFloat).mean(), outputs);
  file.tensor("loss", loss, outputs);
  file.tensor("grad_in.f", f.grad(), gradients_of_domains(file));
  discriminator.compare("grad.discriminator.");
}

void check_dal_schedules(Comparison& file) {
  constexpr Tolerance kClose{0.0, 1e-9};
  for (const auto& [step, value] : file.about().at("reversal").at("values").items())
    file.number("reversal " + step, method::reversal_coefficient(std::stoll(step)), value, kClose);
  for (const auto& [part, value] : file.about().at("ramp").at("values").items())
    file.number("ramp " + part, method::adaptation_ramp(std::stod(part)), value, kClose);
}

}  // namespace cohort::golden_check
