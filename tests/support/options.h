#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "cohort/config/load.h"

namespace cohort::testing {

/// Sets options by their keys: {"method=dino", "dino.prototypes=16"}.
template <class Config>
void set_options(Config& config, const std::vector<std::string>& settings) {
  config::Fields fields(config);
  config::override_with(settings, fields);
}

/// An option that is a number.
template <class Config>
double number_of(Config config, std::string_view key) {
  config::Fields fields(config);
  return std::stod(fields.find(key)->get().front());
}

}  // namespace cohort::testing
