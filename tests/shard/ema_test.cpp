#include "cohort/shard/ema.h"

#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "simulated_ranks.h"

namespace cohort::shard {
namespace {

Unit unit(double phase) {
  Unit made;
  made.add("weight", at::sin(at::arange(2405).to(at::kFloat) + phase).view({65, 37}));
  made.add("bias", at::cos(at::arange(37).to(at::kFloat) + phase));
  made.finish();
  return made;
}

// teacher after `steps` updates, on shards of `ranks` ranks.
at::Tensor averaged(int ranks, int steps) {
  Unit teacher = unit(0.0), student = unit(1.0);
  for (int step = 0; step < steps; ++step) {
    std::vector<FlatShard> theirs = teacher.cut(ranks);
    const std::vector<FlatShard> ours = student.cut(ranks);
    for (std::size_t rank = 0; rank < ours.size(); ++rank)
      update_ema({&theirs[rank], 1}, {&ours[rank], 1}, 0.996);
    student.value.mul_(0.9);
  }
  return teacher.value;
}

TEST(Ema, FollowsTheStudent) {
  at::Tensor teacher = unit(0.0).value.to(at::kDouble), student = unit(1.0).value.to(at::kDouble);
  for (int step = 0; step < 5; ++step) {
    teacher = 0.996 * teacher + 0.004 * student;
    student = 0.9 * student;
  }
  EXPECT_LE((averaged(1, 5).to(at::kDouble) - teacher).abs().max().item<double>(), 5e-7);
}

TEST(Ema, HasTheSameBitsHoweverItIsCut) {
  const at::Tensor whole = averaged(1, 10);
  for (const int ranks : {2, 3, 4}) EXPECT_TRUE(at::equal(averaged(ranks, 10), whole)) << ranks;
}

TEST(Ema, KeepsAndCopies) {
  Unit teacher = unit(0.0), student = unit(1.0);
  std::vector<FlatShard> theirs = teacher.cut(2);
  const std::vector<FlatShard> ours = student.cut(2);

  update_ema(theirs, ours, 1.0);
  EXPECT_TRUE(at::equal(teacher.value, unit(0.0).value));
  update_ema(theirs, ours, 0.0);
  EXPECT_TRUE(at::equal(teacher.value, student.value));
}

TEST(Ema, RefusesModelsThatAreCutOtherwise) {
  Unit teacher = unit(0.0);
  std::vector<FlatShard> theirs = teacher.cut(2);
  std::vector<FlatShard> fewer = teacher.cut(1), renamed = teacher.cut(2), reshaped = teacher.cut(2);
  renamed[1].slots[0].name = "other";
  reshaped[0].slots[0].shape = {37, 65};

  EXPECT_THROW(update_ema(theirs, fewer, 0.9), Bug);
  EXPECT_THROW(update_ema({theirs.data(), 1}, fewer, 0.9), Bug);
  EXPECT_THROW(update_ema(theirs, renamed, 0.9), Bug);
  EXPECT_THROW(update_ema(theirs, reshaped, 0.9), Bug);
  EXPECT_THROW(update_ema(theirs, theirs, 1.5), Bug);
  EXPECT_TRUE(at::equal(teacher.value, unit(0.0).value));
}

}  // namespace
}  // namespace cohort::shard
