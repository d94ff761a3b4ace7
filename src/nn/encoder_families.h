#pragma once
#include <span>
#include <string>

#include "cohort/nn/encoders.h"

namespace cohort::nn {

EncoderFamily vit_family();
EncoderFamily resnet_family();

/// An option that a family has no use for, and whether a configuration sets it.
struct UnusedOption {
  std::string key;
  bool is_set;
};

/// One UsageError for all of them that are set. `kind`: the encoders that have them, "vision transformers".
void refuse_unused(const std::string& name, const std::string& kind, std::span<const UnusedOption> options);

}  // namespace cohort::nn
