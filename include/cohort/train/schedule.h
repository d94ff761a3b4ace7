#pragma once
#include <cstdint>

#include "cohort/config/field.h"

namespace cohort::train {

/// Not used with patience 0.
struct PlateauConfig {
  std::int64_t patience = 0;
  double factor = 0.5, threshold = 1e-4, min_lr = 0.0;

  template <class Visit>
  void fields(Visit& visit) {
    visit("patience", patience,
          "the learning rate falls behind the evaluation with which more than so many in a row were not "
          "better; "
          "then it does not follow the cosine; 0: it follows the cosine",
          config::Range<std::int64_t>{0, 1 << 20});
    visit("factor", factor, "what the learning rate is multiplied by each time", config::Range{0.0, 1.0});
    visit("threshold", threshold, "part of the best score that another has to be better by to count",
          config::Range{0.0, 1.0});
    visit("min_lr", min_lr, "learning rate below which it does not fall", config::Range{0.0, 10.0});
  }
};

struct ScheduleConfig {
  std::int64_t warmup_steps = 0, warmup_epochs = 0;
  double lr_end = 1e-6;
  std::int64_t reference_batch = 0;
  double weight_decay_end = -1.0;
  PlateauConfig plateau;

  template <class Visit>
  void fields(Visit& visit) {
    visit("warmup_steps", warmup_steps, "steps of linear growth from 0 to the peak learning rate",
          config::Range<std::int64_t>{0, INT64_MAX});
    visit("warmup_epochs", warmup_epochs, "the same in epochs, added to the steps",
          config::Range<std::int64_t>{0, 1 << 30});
    visit("lr_end", lr_end, "learning rate that the cosine approaches", config::Range{0.0, 10.0});
    visit(
        "reference_batch", reference_batch,
        "images of a step that optimizer.lr is meant for: the peak learning rate is scaled by the images of "
        "a step / this number; 0: not scaled",
        config::Range<std::int64_t>{0, 1 << 30});
    visit("weight_decay_end", weight_decay_end,
          "weight decay that a cosine from optimizer.weight_decay approaches; -1: constant",
          config::Range{-1.0, 1.0});
    visit.section("plateau", plateau,
                  "a learning rate that falls when the score of checkpoint.best_by no longer gets better "
                  "(docs/operations.md)");
  }
};

}  // namespace cohort::train
