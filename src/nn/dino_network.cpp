#include "cohort/nn/dino_network.h"

#include <utility>

namespace cohort::nn {

DinoNetwork::DinoNetwork(std::shared_ptr<Encoder> backbone, const DinoHeadShape& head)
    : backbone_(add_tower("backbone", std::move(backbone))),
      head_(register_module("head", std::make_shared<DinoHead>(head))) {}

}  // namespace cohort::nn
