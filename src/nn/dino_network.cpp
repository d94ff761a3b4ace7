#include "cohort/nn/dino_network.h"

#include <string_view>
#include <utility>

namespace cohort::nn {

DinoNetwork::DinoNetwork(std::shared_ptr<VisionTransformer> backbone, const DinoHeadShape& head)
    : backbone_(register_module("backbone", std::move(backbone))),
      head_(register_module("head", std::make_shared<DinoHead>(head))) {}

int DinoNetwork::layer_of(const std::string& parameter) const {
  constexpr std::string_view kBackbone = "backbone.";
  if (parameter.starts_with(kBackbone)) return backbone_->layer_of(parameter.substr(kBackbone.size()));
  return static_cast<int>(backbone_->shape().depth) + 1;
}

void DinoNetwork::use(UnitRunner& runner) noexcept {
  UnitModel::use(runner);
  backbone_->use(runner);
}

}  // namespace cohort::nn
