// A teacher follows its student on shards, whatever either of them freezes: the bits of a loop over whole
// tensors.
#include "cohort/shard/ema.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"

#include "sharded_fixture.h"

namespace cohort::shard {
namespace {

using Names = std::set<std::string>;

const Names kNothing, kMatrices{"embed.weight", "block0.linear.weight", "block2.unused"},
    kAllButOne{"embed.bias", "block0.linear.bias", "block1.linear.weight", "block1.norm.weight", "shift"};

std::shared_ptr<TinyModel> tiny(double phase, const Names& frozen) {
  auto model = std::make_shared<TinyModel>(phase);
  for (const auto& item : model->named_parameters())
    item.value().set_requires_grad(!frozen.contains(item.key()));
  return model;
}

Names all_names() {
  Names names;
  for (const auto& item : TinyModel(0.0).named_parameters()) names.insert(item.key());
  return names;
}

class Ema : public ShardedModelTest {
 protected:
  ShardedModel make(std::shared_ptr<TinyModel> model) {
    return ShardedModel(std::move(model), {.config = GetParam()}, mesh_);
  }

  // Ranks begin with different numbers, so that values which come from the wrong place show.
  void expect_follows(const Names& frozen_in_teacher, const Names& frozen_in_student) {
    ShardedModel teacher = make(tiny(2.0 + ranks_.rank(), frozen_in_teacher)),
                 student = make(tiny(3.0 + ranks_.rank(), frozen_in_student));
    Tensors expected = parameters_of(teacher);
    for (int step = 0; step < 3; ++step) {
      for (const auto& [name, value] : parameters_of(student)) expected[name].mul_(0.75).add_(value * 0.25);
      update_ema(teacher, student, 0.75);
      for (const FlatShard& shard : student.shards()) shard.value.mul_(0.9);
      student.parameters_changed();
    }
    for (const auto& [name, value] : parameters_of(teacher))
      EXPECT_TRUE(at::equal(value, expected.at(name))) << name;
    expect_clean_padding(teacher);
  }

  static void expect_clean_padding(ShardedModel& model) {
    std::vector<at::Tensor> values;
    double inside = 0.0, all = 0.0;
    for (const FlatShard& shard : model.shards()) {
      values.push_back(shard.value);
      all += shard.value.to(at::kDouble).abs().sum().item<double>();
      for (const NamedPiece& piece : pieces_to_load(shard, shard.value))
        inside += piece.values.to(at::kDouble).abs().sum().item<double>();
    }
    EXPECT_NEAR(inside, all, 1e-9 * all);
  }
};

TEST_P(Ema, FollowsWhateverIsFrozen) {
  for (const Names& in_teacher : {kNothing, kAllButOne, all_names()}) {
    for (const Names& in_student : {kNothing, kMatrices, kAllButOne}) {
      SCOPED_TRACE(
          fmt::format("teacher without {}, student without {}", in_teacher.size(), in_student.size()));
      expect_follows(in_teacher, in_student);
    }
  }
}

TEST_P(Ema, FollowsAStudentOfAnotherStrategy) {
  const auto whole = tiny(2.0, all_names());
  comm::DeviceMesh whole_mesh(ranks_, 1);
  ShardedModel teacher(whole, {}, whole_mesh), student = make(tiny(3.0, kMatrices));
  Tensors expected = parameters_of(teacher);
  for (const auto& [name, value] : parameters_of(student)) expected[name].mul_(0.5).add_(value * 0.5);

  update_ema(teacher, student, 0.5);

  for (const auto& [name, value] : parameters_of(teacher))
    EXPECT_TRUE(at::equal(value, expected.at(name))) << name;
}

TEST_P(Ema, KeepsAndCopies) {
  ShardedModel teacher = make(tiny(2.0, all_names())), student = make(tiny(3.0, kMatrices));
  const Tensors before = parameters_of(teacher), copied = parameters_of(student);

  update_ema(teacher, student, 1.0);
  for (const auto& [name, value] : parameters_of(teacher)) EXPECT_TRUE(at::equal(value, before.at(name)));
  update_ema(teacher, student, 0.0);
  for (const auto& [name, value] : parameters_of(teacher)) EXPECT_TRUE(at::equal(value, copied.at(name)));
}

// Other ranks do nothing here: were there any communication, this would wait for them in vain.
TEST_P(Ema, NeedsNoOtherRankWhereBothAreCutAlike) {
  for (const Names& frozen_in_teacher : {kNothing, all_names()}) {
    ShardedModel teacher = make(tiny(2.0, frozen_in_teacher)), student = make(tiny(2.0, kNothing));
    if (ranks_.rank() == 0) update_ema(teacher, student, 0.5);
  }
}

// The next forward pass of the teacher computes with the new values.
TEST_P(Ema, IsSeenByTheTeachersNextPass) {
  const auto model = tiny(2.0, all_names()), of_student = tiny(3.0, kNothing);
  ShardedModel teacher = make(model), student = make(of_student);
  const at::NoGradGuard no_grad;
  const double before = model->loss(samples(0)).item<double>();

  update_ema(teacher, student, 0.0);

  const double after = model->loss(samples(0)).item<double>();
  EXPECT_EQ(after, of_student->loss(samples(0)).item<double>());
  EXPECT_NE(after, before);
}

struct Wider : TinyModel {
  Wider() : TinyModel(1.0) { extra = register_parameter("extra", at::ones({5})); }
  at::Tensor extra;
};

struct Reshaped : TinyModel {
  Reshaped() : TinyModel(1.0) { replace_shift(); }
  void replace_shift() { shift.set_data(at::zeros({4, 2})); }
};

TEST_P(Ema, RefusesModelsOfOtherParametersAndNamesThem) {
  ShardedModel teacher = make(std::make_shared<Wider>()), narrower = make(tiny(2.0, kNothing)),
               reshaped = make(std::make_shared<Reshaped>());
  const Tensors before = parameters_of(teacher);
  const auto message = [&](ShardedModel& student) -> std::string {
    try {
      update_ema(teacher, student, 0.5);
    } catch (const Bug& bug) {
      return bug.what();
    }
    return "";
  };

  EXPECT_NE(message(narrower).find("extra: [5], and missing in the part that is followed"),
            std::string::npos);
  EXPECT_NE(message(reshaped).find("shift: [8], and [4, 2] in the part that is followed"), std::string::npos);
  EXPECT_THROW(update_ema(teacher, teacher, 1.5), Bug);
  for (const auto& [name, value] : parameters_of(teacher))
    EXPECT_TRUE(at::equal(value, before.at(name))) << name;
}

TEST_P(Ema, FollowsAStudentThatHasMore) {
  ShardedModel teacher = make(tiny(2.0, all_names())), student = make(std::make_shared<Wider>());
  Tensors expected = parameters_of(teacher);
  const Tensors of_student = parameters_of(student);
  for (auto& [name, value] : expected) value.mul_(0.75).add_(of_student.at(name) * 0.25);

  update_ema(teacher, student, 0.75);

  for (const auto& [name, value] : parameters_of(teacher))
    EXPECT_TRUE(at::equal(value, expected.at(name))) << name;
}

INSTANTIATE_TEST_SUITE_P(Strategies, Ema, ::testing::ValuesIn(sharding_cases()), case_name);

}  // namespace
}  // namespace cohort::shard
