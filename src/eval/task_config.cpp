#include "cohort/eval/task_config.h"

#include <array>

namespace cohort::eval {

std::span<const config::EnumName<BoxRule>> enum_names(BoxRule) {
  static constexpr std::array<config::EnumName<BoxRule>, 2> kNames{
      {{BoxRule::coco, "coco"}, {BoxRule::plus_one, "plus_one"}}};
  return kNames;
}

}  // namespace cohort::eval
