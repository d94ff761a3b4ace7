#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cohort/config/field.h"
#include "cohort/eval/task_config.h"

namespace cohort::eval {

struct EvalConfig {
  std::int64_t context_images = 32;
  std::vector<std::string> splits;
  std::int64_t every_epochs = 0;
  std::vector<std::int64_t> neighbours;
  std::string neighbours_of;
  std::vector<std::string> contexts;
  TaskConfig task;

  template <class Visit>
  void fields(Visit& visit) {
    visit("context_images", context_images,
          "images of a context behind its token; the last group of a context may have fewer",
          config::Range<std::int64_t>{1, 1 << 20});
    visit("splits", splits, "splits to evaluate; empty: all but the training split");
    visit("every_epochs", every_epochs, "epochs between evaluations; 0: at the end only",
          config::Range<std::int64_t>{0, 1 << 20});
    visit("neighbours", neighbours,
          "classify also by this many nearest images of the training split, as cohort knn does, and describe "
          "its features; empty: by the model's head alone",
          config::Range<std::int64_t>{1, 1 << 20});
    visit(
        "neighbours_of", neighbours_of,
        "label or context that neighbours are asked for: 'slide' tells how much features know of the slide; "
        "empty: the label, and without labels nothing");
    visit("contexts", contexts,
          "context keys that scores are given for, the first one in tables; empty: the one whose images form "
          "groups");
    visit.section("task", task, "what scores are taken at");
  }
};

}  // namespace cohort::eval
