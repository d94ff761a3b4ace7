// Files of the kinds reports.seg_linear and reports.seg_unet: heads and losses
// of LoVT's evaluation.
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/method/field_losses.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/unet_head.h"

#include "checks.h"
#include "mini_resnet.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

using method::DiceClasses;

constexpr Tolerance kLoss{1e-5};

struct Segmented {
  at::Tensor features, map, probability, sums;
};

Segmented segment(nn::DenseHead& head, const at::Tensor& features, const at::Tensor& targets) {
  Segmented made;
  made.features = leaf(features);
  nn::DenseInput input;
  input.features.maps.push_back({made.features, 1});
  made.map = head.forward(input, {}, nn::run_plainly);
  made.probability = nn::resized(made.map, targets.size(2), targets.size(3)).sigmoid();
  const at::Tensor known = at::ones({targets.size(0), targets.size(2), targets.size(3)}, at::kBool);
  made.sums = method::overlaps(made.probability, targets, known);
  return made;
}

}  // namespace

void check_seg_linear(Comparison& file) {
  constexpr Tolerance kGradient{1e-4};
  const at::Tensor targets = file.input("in.targets"), features = file.float_input("in.features");
  nn::LinearDenseHead head(features.size(1), targets.size(1));
  nn::initialise(head, 1);
  load_by_name(file, head, as_it_is);
  for (const auto& [classes, name, loss_name] :
       {std::tuple(DiceClasses::merged, "merged", "loss.merged"),
        std::tuple(DiceClasses::per_class, "per_class", "loss.per_class_mean")}) {
    const Segmented made = segment(head, features, targets);
    const at::Tensor loss = method::dice_loss(made.sums, classes);
    loss.backward();
    file.tensor("out.logits_map", made.map, kLoss);
    file.tensor("out.probability", made.probability, kLoss);
    file.tensor(loss_name, loss, kLoss);
    file.tensor(std::string("grad_in_") + name + ".features", made.features.grad(), kGradient);
    compare_by_name(file, std::string("grad_") + name + ".", head, as_it_is, kGradient);
  }
  const at::NoGradGuard no_grad;
  const Segmented made = segment(head, features, targets);
  const auto& of_classes = file.about().at("loss_per_class");
  for (std::size_t k = 0; k < of_classes.size(); ++k) {
    const at::Tensor of_class = made.sums.narrow(1, static_cast<std::int64_t>(k), 1);
    file.number("loss of class " + std::to_string(k),
                method::dice_loss(of_class, DiceClasses::merged).item<double>(), of_classes[k], kLoss);
  }
}

namespace {

/// The file's name of a parameter of the decoder.
std::string name_in_resunet(const std::string& name) {
  constexpr std::string_view kFirst = "bridge.conv_block_1.", kSecond = "bridge.conv_block_2.";
  if (name.starts_with(kFirst)) return "resunet.bridge.bridge.0." + name.substr(kFirst.size());
  if (name.starts_with(kSecond)) return "resunet.bridge.bridge.1." + name.substr(kSecond.size());
  return (name.starts_with("classifier") ? "segmentation_head." : "resunet.") + name;
}

std::shared_ptr<nn::UnetHead> unet_of(const nlohmann::json& widths, const MiniResNet::Features& features,
                                      std::int64_t image_channels) {
  nn::UnetShape shape{.skips = {}, .inputs = features.maps.back().values.size(1), .steps = {}, .outputs = 1};
  for (std::size_t map = features.maps.size() - 1; map-- > 0;)
    shape.skips.push_back(features.maps[map].values.size(1));
  shape.skips.insert(shape.skips.end(), {features.stem.size(1), image_channels});
  shape.bridge = widths.at("bridge");
  for (std::size_t i = 1; i <= shape.skips.size(); ++i)
    shape.steps.push_back(widths.at("up" + std::to_string(i)));
  auto head = std::make_shared<nn::UnetHead>(shape);
  nn::initialise(*head, 1);
  return head;
}

}  // namespace

void check_seg_unet(Comparison& file) {
  constexpr Tolerance kLogits{1e-4}, kGradient{1e-3};
  const std::string backbone = "resunet.backbone.backbone_layers.";
  for (const std::string& name : file.names("param.")) (void)file.input("param." + name);
  const at::Tensor images = file.float_input("in.image").unsqueeze(1).repeat({1, 3, 1, 1});
  const at::Tensor mask = file.input("in.target").to(at::kByte);
  const MiniResNet network(file, backbone);
  const MiniResNet::Features features = network.forward(images);
  const auto head = unet_of(file.about().at("up_dims"), features, images.size(1));
  load_by_name(file, *head, name_in_resunet);

  nn::DenseInput input{images, {}};
  input.features.maps = features.maps;
  input.features.stem = features.stem;
  const at::Tensor logits = head->forward(input, {.training = true}, nn::run_plainly);
  const at::Tensor sums =
      method::overlaps(logits.sigmoid(), method::pixels_of_classes(mask, 1), method::known_pixels(mask));
  const at::Tensor loss = method::dice_loss(sums, DiceClasses::merged);
  loss.backward();

  file.tensor("out.conv1", features.stem, kLoss);
  file.tensor("out.conv5", features.maps.back().values, kLogits);
  file.tensor("out.logits", logits, kLogits);
  file.tensor("loss", loss, kLoss);
  network.compare(file, "grad." + backbone, kGradient);
  compare_by_name(file, "grad.", *head, name_in_resunet, kGradient);
}

}  // namespace cohort::golden_check
