// Files of the kinds reports.seg_linear and reports.seg_unet: heads and losses
// of LoVT's evaluation.
#include <map>
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
#include "models.h"

namespace cohort::golden_check {
namespace {

using method::DiceClasses;

constexpr Tolerance kLoss{1e-5};

/// Parameters of `module` by the name that `published` gives them; a convolution of 1 x 1 may be stored with
/// one dimension of places instead of two.
template <class Published>
void load_by_name(Comparison& file, torch::nn::Module& module, const Published& published) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : module.named_parameters())
    parameter.value().copy_(
        file.input("param." + published(parameter.key())).view(parameter.value().sizes()));
}

template <class Published>
void compare_by_name(Comparison& file, const std::string& prefix, torch::nn::Module& module,
                     const Published& published, Tolerance tolerance) {
  for (auto& parameter : module.named_parameters()) {
    const std::string name = prefix + published(parameter.key());
    if (file.has(name)) file.tensor(name, parameter.value().grad().view(file.input(name).sizes()), tolerance);
    parameter.value().mutable_grad().reset();
  }
}

std::string as_it_is(const std::string& name) {
  return name;
}

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

/// The file's residual network, whose stages have widths of their own: in PyTorch's operations, in training.
class MiniResNet {
 public:
  MiniResNet(Comparison& file, const std::string& prefix) {
    for (const std::string& name : file.names("param." + prefix))
      parameters_.emplace(name, leaf(file.float_input("param." + prefix + name)));
  }

  struct Features {
    std::vector<nn::FeatureMap> maps;
    at::Tensor stem;
  };
  [[nodiscard]] Features forward(const at::Tensor& images) const {
    Features made;
    made.stem = at::relu(norm("bn1", convolution("conv1", images, 2, 3)));
    at::Tensor x = at::max_pool2d(made.stem, 3, 2, 1);
    for (const char* stage : {"layer1", "layer2", "layer3", "layer4"}) {
      const bool is_first = made.maps.empty();
      x = bottleneck(std::string(stage) + ".0.", x, is_first ? 1 : 2);
      made.maps.push_back({x, is_first ? 4 : 2 * made.maps.back().stride});
    }
    return made;
  }

  void compare(Comparison& file, const std::string& prefix, Tolerance tolerance) const {
    for (const std::string& name : file.names(prefix))
      file.tensor(prefix + name, parameters_.at(name).grad(), tolerance);
  }

 private:
  [[nodiscard]] at::Tensor convolution(const std::string& name, const at::Tensor& x, std::int64_t stride,
                                       std::int64_t padding) const {
    return at::conv2d(x, parameters_.at(name + ".weight"), {}, stride, padding);
  }
  [[nodiscard]] at::Tensor norm(const std::string& name, const at::Tensor& x) const {
    return at::batch_norm(x, parameters_.at(name + ".weight"), parameters_.at(name + ".bias"), {}, {},
                          /*training=*/true, 0.1, 1e-5, /*cudnn_enabled=*/false);
  }
  [[nodiscard]] at::Tensor bottleneck(const std::string& block, const at::Tensor& x,
                                      std::int64_t stride) const {
    at::Tensor y = at::relu(norm(block + "bn1", convolution(block + "conv1", x, 1, 0)));
    y = at::relu(norm(block + "bn2", convolution(block + "conv2", y, stride, 1)));
    y = norm(block + "bn3", convolution(block + "conv3", y, 1, 0));
    return at::relu(y + norm(block + "downsample.1", convolution(block + "downsample.0", x, stride, 0)));
  }

  std::map<std::string, at::Tensor> parameters_;
};

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
