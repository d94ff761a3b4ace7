// Files of the kinds reports.p_matrix, reports.global_ntxent and reports.local_losses: losses between images
// and their texts alone.
#include "cohort/method/image_text_losses.h"

#include <string>

#include <ATen/ATen.h>

#include "checks.h"
#include "models.h"

namespace cohort::golden_check {

void check_p_matrix(Comparison& file) {
  constexpr Tolerance kBound{1e-6};
  for (const auto& [name, item] : file.about().at("cases").items()) {
    const double beta = item.at("beta");
    const at::Tensor hits = method::near_regions(item.at("H"), item.at("W"), item.at("threshold"), beta),
                     all = method::near_regions(item.at("H"), item.at("W"), 1, beta);
    file.tensor("p." + name, hits, kBound);
    // Without a threshold the distances are in the ratios to a row's own region.
    file.tensor("d." + name, -beta * at::log(all / all.diagonal().unsqueeze(1)), kBound);
  }
}

void check_global_ntxent(Comparison& file) {
  for (const auto& [number, item] : file.about().at("cases").items()) {
    const std::string name = "z" + number;
    const at::Tensor images = leaf(file.input("in." + name + "_scan")),
                     texts = leaf(file.input("in." + name + "_report"));
    const at::Tensor loss =
        method::cross_modal_nt_xent(images, texts, file.about().at("tau"), file.about().at("weights")[0]);
    constexpr Tolerance kLoss{3e-6}, kGradients{2e-5};
    file.tensor("loss." + number, loss, kLoss);
    loss.backward();
    file.tensor("grad_in." + name + "_scan", images.grad(), kGradients);
    file.tensor("grad_in." + name + "_report", texts.grad(), kGradients);
    const double found = method::own_text_found(images, texts) / static_cast<double>(images.size(0));
    file.number("a2b_top_1_acc " + number, found, item.at("a2b_top_1_acc"), {1e-6});
  }
}

void check_local_losses(Comparison& file) {
  constexpr Tolerance kLoss{3e-6}, kGradients{5e-5};
  for (const auto& [number, item] : file.about().at("cases").items()) {
    const std::string name = "in.c" + number;
    const auto if_there = [&](const std::string& which) {
      return file.has(name + which) ? file.input(name + which) : at::Tensor();
    };
    const at::Tensor own = leaf(file.input(name + "_a")), attended = leaf(file.input(name + "_b"));
    const at::Tensor mask = if_there("_mask");
    const at::Tensor hits = item.at("kind") == "regions"
                                ? method::near_regions(item.at("H"), item.at("W"), 0.5, 1)
                                : at::Tensor();
    const method::LocalContrast made =
        method::local_contrast(own, attended, hits, mask.defined() ? mask.to(at::kBool) : mask,
                               if_there("_weights"), file.about().at("tau"));
    file.number("ab " + number, made.of_own.mean().item<double>(), item.at("ab"), kLoss);
    file.number("ba " + number, made.of_attended.mean().item<double>(), item.at("ba"), kLoss);
    const at::Tensor loss = made.of_own.mean() + made.of_attended.mean();
    file.tensor("loss." + number, loss, kLoss);
    loss.backward();
    file.tensor("grad_in.c" + number + "_a", own.grad(), kGradients);
    file.tensor("grad_in.c" + number + "_b", attended.grad(), kGradients);
  }
}

}  // namespace cohort::golden_check
