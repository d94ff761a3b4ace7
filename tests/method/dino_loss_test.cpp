// Loss, centre and temperature of DINO against the published implementation.
#include "cohort/method/dino_loss.h"

#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "../support/golden.h"
#include "../support/ranks.h"

namespace cohort::method {
namespace {

using testing::Golden;
using testing::relative_difference;

constexpr std::int64_t kViews = 6, kLossImages = 3, kPrototypes = 32;

double temperature_of(const Golden& golden, std::int64_t epoch) {
  const auto& about = golden.description();
  return teacher_temperature(about.at("warmup_teacher_temp"), about.at("teacher_temp"),
                             about.at("warmup_teacher_temp_epochs"), epoch);
}

// Steps 0 and 1, in epochs 0 and 1, of the inputs `in`; expected numbers under `out`.
void expect_two_steps(const std::string& in, const std::string& out, comm::Communicator* ranks) {
  const Golden golden("dino_loss");
  Centre centre(kPrototypes, golden.description().at("center_momentum"));
  for (const std::string step : {".0", ".1"}) {
    const at::Tensor student = golden[in + "student" + step].to(at::kDouble).requires_grad_();
    const at::Tensor teacher = golden[in + "teacher" + step].to(at::kDouble);

    centre.add(teacher);
    const at::Tensor probabilities =
        teacher_probabilities(teacher.view({kTeacherViews, kLossImages, kPrototypes}), centre.values(),
                              temperature_of(golden, step == ".0" ? 0 : 1));
    const at::Tensor loss = cross_entropy_of_views(student.view({kViews, kLossImages, kPrototypes}),
                                                   probabilities, golden.description().at("student_temp")) /
                            kLossImages;
    loss.backward();
    centre.update(ranks);

    // The centre is kept in fp32, as in the files.
    EXPECT_LE(relative_difference(loss.view(1), golden[out + "loss" + step]), 1e-6) << out << step;
    EXPECT_LE(relative_difference(student.grad(), golden[out + "grad_student" + step]), 1e-5) << out << step;
    EXPECT_LE(relative_difference(centre.values(), golden[out + "center" + step].flatten()), 1e-6)
        << out << step;
  }
}

TEST(DinoLoss, TwoStepsEqualTheReference) {
  expect_two_steps("in.", "out.", nullptr);
}

TEST(DinoLoss, TheCentreIsSharedByTheRanks) {
  comm::Communicator world = test::world();
  comm::Communicator pair = world.split(world.rank() < 2 ? 0 : 1, "pair");
  if (world.rank() >= 2) return;
  const std::string rank = std::to_string(pair.rank());
  expect_two_steps(pair.rank() == 0 ? "in." : "in.r1.", "out_2rank.r" + rank + ".", &pair);
}

TEST(DinoLoss, TheCentreHasTheSameBitsHoweverTheRowsAreDivided) {
  comm::Communicator world = test::world();
  const at::Tensor rows = at::sin(at::arange(24 * kPrototypes) * 1.37).view({24, kPrototypes});
  Centre alone(kPrototypes, 0.9), shared(kPrototypes, 0.9);
  for (const at::Tensor& part : rows.chunk(24)) alone.add(part);
  const std::int64_t count = 24 / world.size();
  for (const at::Tensor& part : rows.narrow(0, world.rank() * count, count).chunk(count)) shared.add(part);

  alone.update(nullptr);
  shared.update(&world);

  EXPECT_TRUE(at::equal(alone.values(), shared.values()));
  EXPECT_LE(relative_difference(alone.values(), rows.to(at::kDouble).mean(0) * 0.1), 1e-6);
}

TEST(DinoTemperature, EqualsTheReference) {
  const Golden of_loss("dino_loss"), schedules("schedules");
  const at::Tensor few = of_loss["out.teacher_temp_schedule"], many = schedules["temp"];
  for (std::int64_t epoch = 0; epoch < few.numel(); ++epoch) {
    EXPECT_NEAR(temperature_of(of_loss, epoch), few[epoch].item<double>(), 1e-8);
  }
  for (std::int64_t epoch = 0; epoch < many.numel(); ++epoch)
    EXPECT_NEAR(teacher_temperature(0.04, 0.07, 30, epoch), many[epoch].item<double>(), 1e-8) << epoch;
}

}  // namespace
}  // namespace cohort::method
