#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/method/choice.h"
#include "cohort/method/registry.h"

#include "options.h"

namespace cohort::testing {

/// What make_method() makes a method of, as method::Materials.
struct TestMaterials {
  std::function<std::shared_ptr<nn::Encoder>(std::int64_t classes)> encoder;
  nn::Scope scope = nn::Scope::group;
  std::int64_t classes = 0;
  std::vector<std::int64_t> label_counts{};
  data::Description description{};
};

/// A choice as a configuration has it: with a key "method".
struct ChosenMethod {
  method::Choice choice;
  void fields(config::Fields& visit) {
    choice.visit_name(visit);
    choice.visit_sections(visit);
  }
};

/// The method of the registry that `settings` choose: {"method=dino", "dino.prototypes=16"}.
inline std::unique_ptr<method::Method> make_method(const std::vector<std::string>& settings,
                                                   const TestMaterials& materials) {
  ChosenMethod chosen;
  set_options(chosen, settings);
  return chosen.choice.entry().make(
      chosen.choice.options(),
      {.description = materials.description,
       .classes = materials.classes,
       .label_counts = materials.label_counts,
       .encoder = [&](std::string_view, std::int64_t classes) { return materials.encoder(classes); },
       .scope = materials.scope});
}

}  // namespace cohort::testing
