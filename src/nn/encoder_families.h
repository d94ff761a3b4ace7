#pragma once
#include "cohort/nn/encoders.h"

namespace cohort::nn {

EncoderFamily vit_family();
EncoderFamily resnet_family();
EncoderFamily cct_family();
EncoderFamily csit_family();
EncoderFamily pvt_family();

/// Throws UsageError: `heads` of attention do not divide the width of a token.
void check_heads(std::int64_t width, std::int64_t heads);

}  // namespace cohort::nn
