// Which stages an observer hears of, and what counts as part of a step.
#include "train/stage_clock.h"

#include <string>

#include <gtest/gtest.h>

namespace cohort::train {
namespace {

/// "ends forward, took forward …"
class Listener final : public StageObserver {
 public:
  void ends(Stage stage) noexcept override { heard += std::string("ends ") + stage_name(stage) + ", "; }
  void took(Stage stage, double busy, double waiting) noexcept override {
    heard += std::string("took ") + stage_name(stage) + ", ";
    times_are_sound = times_are_sound && busy >= 0 && busy < 60 && waiting == 0;
  }
  void step_ended(std::int64_t step) noexcept override { heard += "step " + std::to_string(step) + ", "; }

  std::string heard;
  bool times_are_sound = true;
};

TEST(StageClock, AnObserverHearsOfEveryStageOnce) {
  Listener listener;
  StageClock clock(&listener);
  clock.enter(7, Stage::data);
  clock.enter(7, Stage::copy);
  clock.enter(7, Stage::ema);
  clock.end_step();
  clock.enter(7, Stage::checkpoint);
  clock.pause();
  clock.pause();

  EXPECT_EQ(listener.heard,
            "ends data, took data, ends copy, took copy, ends ema, took ema, step 7, ends checkpoint, took "
            "checkpoint, ");
  EXPECT_TRUE(listener.times_are_sound);
}

TEST(StageClock, WhatLiesBetweenStepsBelongsToNone) {
  StageClock clock;
  clock.enter(1, Stage::forward);
  clock.end_step();
  clock.enter(1, Stage::evaluation);
  clock.enter(1, Stage::checkpoint);
  clock.pause();
  const StageTimes first = clock.take();
  EXPECT_EQ(first.steps, 1);
  EXPECT_EQ(first.all_busy(), first.busy[static_cast<std::size_t>(Stage::forward)]);

  EXPECT_EQ(clock.take().steps, 0);
}

}  // namespace
}  // namespace cohort::train
