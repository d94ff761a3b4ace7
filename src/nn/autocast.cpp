#include "cohort/nn/autocast.h"

#include <ATen/autocast_mode.h>

namespace cohort::nn {

Bf16Scope::Bf16Scope(bool enabled, c10::DeviceType device) : enabled_(enabled), device_(device) {
  if (!enabled_) return;
  at::autocast::set_autocast_dtype(device_, at::kBFloat16);
  at::autocast::set_autocast_enabled(device_, true);
}

Bf16Scope::~Bf16Scope() {
  if (!enabled_) return;
  at::autocast::set_autocast_enabled(device_, false);
  // The cache holds bf16 copies of weights, which the next optimizer step makes stale.
  at::autocast::clear_cache();
}

}  // namespace cohort::nn
