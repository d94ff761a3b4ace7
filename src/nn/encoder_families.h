#pragma once
#include "cohort/nn/encoders.h"

namespace cohort::nn {

EncoderFamily vit_family();
EncoderFamily resnet_family();

}  // namespace cohort::nn
