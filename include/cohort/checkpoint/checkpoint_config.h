#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "cohort/config/field.h"

namespace cohort::checkpoint {

struct CheckpointConfig {
  bool async = true;
  std::int64_t every_steps = 0;
  std::chrono::seconds every{0};
  std::int64_t keep_last = 2;
  std::int64_t keep_every = 0;
  std::string best_by{};

  template <class Visit>
  void fields(Visit& visit) {
    visit("async", async,
          "go on training while the checkpoint is written; needs memory for a copy of what a rank saves");
    visit("every_steps", every_steps, "steps between checkpoints; 0: none by steps; one at the end always",
          config::Range<std::int64_t>{0, INT64_MAX});
    visit("every", every, "time between checkpoints, by the clock of rank 0; 0s: none by time",
          config::Range<std::int64_t>{0, 86400 * 30});
    visit("keep_last", keep_last, "newest checkpoints to keep", config::Range<std::int64_t>{1, 1 << 20});
    visit("keep_every", keep_every, "steps between checkpoints that are never removed; 0: none",
          config::Range<std::int64_t>{0, INT64_MAX});
    visit(
        "best_by", best_by,
        "keep the checkpoint of the evaluation that is best by this score, as `best`: SPLIT/SCORE, by the "
        "model's head; SPLIT/knn_20/SCORE, by 20 neighbours; or features/SCORE (docs/operations.md); empty: "
        "none is kept for its score");
  }
};

}  // namespace cohort::checkpoint
