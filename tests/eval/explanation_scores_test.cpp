#include "cohort/eval/explanation_scores.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/data/batch.h"
#include "cohort/data/dataset_writer.h"
#include "cohort/eval/confident_errors.h"
#include "cohort/nn/explain.h"

#include "eval/saliency.h"
#include "support/ranks.h"
#include "support/small_model.h"
#include "support/tiny_dataset.h"

namespace cohort::eval {
namespace {

constexpr ExplanationScoreConfig kAll{
    .adcc = true, .insertion = true, .deletion = true, .region = {}, .steps = 10, .baseline = {}, .chunk = 4};

class ExplanationScoresTest : public ::testing::Test {
 protected:
  ExplanationScoresTest() { testing::write_tiny_dataset(folder.path() / "tiny", world); }
  data::Dataset dataset() const { return data::Dataset::open(folder.path() / "tiny", "test"); }
  static EvalConfig groups_of_three() {
    EvalConfig config;
    config.context_images = 3;
    return config;
  }
  std::vector<ExplanationScores> score(comm::Communicator& ranks, const ExplanationScoreConfig& config,
                                       std::int64_t count = 28) {
    const data::Dataset split = dataset();
    return score_explanations(*model, {}, {split, {28, count}, "site", {"dark", "bright"}}, groups_of_three(),
                              augment::Normalisation::dataset, config, ranks);
  }
  static nn::VitShape shape() {
    nn::VitShape shape = testing::small_shape({"site"}, nn::Amortization::mean_linear_layer, {6});
    shape.classes = 2;
    return shape;
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
  std::shared_ptr<nn::VisionTransformer> model = testing::small_model(shape(), 4.0);
};

bool are_equal(const std::vector<Score>& a, const std::vector<Score>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].name != b[i].name || a[i].value != b[i].value) return false;
  return true;
}

TEST_F(ExplanationScoresTest, HaveTheSameBitsOnAnyNumberOfRanks) {
  comm::Communicator alone = world.split(world.rank(), "alone");

  const auto together = score(world, kAll), single = score(alone, kAll);

  ASSERT_EQ(together.size(), 2U);
  EXPECT_EQ(together[0].method, "reciprocam");
  EXPECT_EQ(together[1].method, "rollout");
  for (std::size_t m = 0; m < 2; ++m) {
    const Scorecard &a = together[m].scorecard, &b = single[m].scorecard;
    EXPECT_EQ(a.samples, 28);
    EXPECT_TRUE(are_equal(a.all, b.all));
    ASSERT_EQ(a.contexts.size(), 1U);
    EXPECT_EQ(a.contexts[0].key, "site");
    ASSERT_EQ(a.contexts[0].groups.size(), 4U);
    for (std::size_t c = 0; c < 4; ++c) {
      EXPECT_EQ(a.contexts[0].groups[c].samples, 7);
      EXPECT_TRUE(are_equal(a.contexts[0].groups[c].scores, b.contexts[0].groups[c].scores));
    }
    for (std::size_t c = 0; c < 2; ++c) EXPECT_EQ(a.curves[c].points, b.curves[c].points);
    EXPECT_TRUE(at::equal(together[m].images.block(0, 28), single[m].images.block(0, 28)));
  }
}

TEST_F(ExplanationScoresTest, AreMeansOfImagesAndAdccOfTheMeans) {
  const ExplanationScores of = std::move(score(world, kAll).front());

  const at::Tensor means = of.images.block(0, 28).to(at::kDouble).mean(0);
  for (std::size_t i = 0; i < of.names.size(); ++i)
    EXPECT_NEAR(of.scorecard.find(of.names[i])->value, means[static_cast<std::int64_t>(i)].item<double>(),
                1e-6)
        << of.names[i];
  const auto value = [&](const char* name) { return of.scorecard.find(name)->value; };
  EXPECT_DOUBLE_EQ(value("adcc_of_means"),
                   adcc(value("average_drop"), value("coherency"), value("complexity")));
  EXPECT_FALSE(of.scorecard.find("average_drop")->higher_is_better);
  EXPECT_FALSE(of.scorecard.find("deletion")->higher_is_better);
}

// By the formulas, from passes of the whole group 0, 1, 2 of which one image is changed, its context kept.
TEST_F(ExplanationScoresTest, AreThoseOfTheFormulas) {
  const at::NoGradGuard no_gradients;
  const std::vector<data::Group> group{{1, 0, {0, 1, 2}}};
  const data::Dataset split = dataset();
  (void)split.context_runs("site");
  const auto view = augment::evaluation_view(split.description(), augment::Normalisation::dataset);
  Workers workers(1);
  const data::Batch batch = data::make_batch(split, group, {{"site"}, ""}, *view, workers);
  const nn::Conditions conditions{.context = batch.context, .group = batch.group, .sample = batch.sample};
  const nn::Trail seen = nn::encode_with_trail(*model, batch.views.front(), conditions);
  const at::Tensor image = batch.views.front()[1], from = testing::indices({1});
  const auto answered = [&](const at::Tensor& changed) {
    return nn::encode_beside(*model, changed.unsqueeze(0), conditions, seen, from);
  };
  const std::int64_t answer = seen.logits[1].argmax().item<std::int64_t>();
  const auto map_for = [&](const nn::Trail& trail) {
    return nn::scaled_maps(nn::reciprocam(*model, trail, {2, 2}))[0][answer].view({2, 2});
  };
  const auto probability = [&](const nn::Trail& trail) {
    return trail.logits[0].to(at::kDouble).softmax(0)[answer].item<double>();
  };
  const nn::Trail whole = answered(image);
  const at::Tensor map = map_for(whole);
  const at::Tensor large = at::upsample_bilinear2d(map.view({1, 1, 2, 2}), {8, 8}, false).view({8, 8});
  const nn::Trail masked = answered(image * large);
  const at::Tensor order = large.flatten().argsort(true, 0, true);
  const at::Tensor soft = blurred(image);
  double insertion = 0, deletion = 0;
  for (std::int64_t step = 0; step <= 10; ++step) {
    at::Tensor inserted = soft.clone(), deleted = image.clone();
    for (std::int64_t i = 0; i < step * 64 / 10; ++i) {
      const auto pixel = order[i].item<std::int64_t>();
      inserted[0][pixel / 8][pixel % 8] = image[0][pixel / 8][pixel % 8];
      deleted[0][pixel / 8][pixel % 8] = 0;
    }
    const double weight = step == 0 || step == 10 ? 0.05 : 0.1;
    insertion += weight * probability(answered(inserted));
    deletion += weight * probability(answered(deleted));
  }
  const at::Tensor pair = at::stack({map.flatten(), map_for(masked).flatten()}).to(at::kDouble);
  const double alike = (1 + at::corrcoef(pair)[0][1].item<double>()) / 2, before = probability(whole),
               drop = std::max(0.0, before - probability(masked)) / before,
               large_part = map.mean().item<double>();

  const at::Tensor found = score(world, kAll).front().images.block(1, 1)[0];

  const std::vector<double> expected{
      3 / (1 / alike + 1 / (1 - large_part) + 1 / (1 - drop)), drop, alike, large_part, insertion, deletion};
  for (std::int64_t i = 0; i < 6; ++i)
    EXPECT_NEAR(found[i].item<double>(), expected[static_cast<std::size_t>(i)], 2e-4) << i;
}

TEST_F(ExplanationScoresTest, SomeImagesAreSpreadOverTheSplit) {
  const auto some = score(world, {.adcc = true}, 5);
  const auto all = score(world, {.adcc = true});

  const SpreadRows spread{28, 5};
  for (std::int64_t i = 0; i < 5; ++i)
    EXPECT_TRUE(at::equal(some[0].images.block(i, 1), all[0].images.block(spread.row(i), 1)));
  EXPECT_EQ(some[0].scorecard.samples, 5);
}

TEST_F(ExplanationScoresTest, AFieldWithoutRegionsIsRefused) {
  EXPECT_THROW(score(world, {.region = "nothing"}), UsageError);
}

TEST(SpreadRows, KnowTheirImages) {
  for (const std::int64_t rows : {1, 7, 28, 1000}) {
    for (const std::int64_t count : {std::int64_t{1}, std::min<std::int64_t>(rows, 6), rows}) {
      const SpreadRows spread{rows, count};
      std::int64_t next = 0;
      for (std::int64_t row = 0; row < rows; ++row) {
        const auto image = spread.image(row);
        if (next < count && spread.row(next) == row)
          EXPECT_EQ(image, next++);
        else
          EXPECT_FALSE(image.has_value()) << row;
      }
      EXPECT_EQ(next, count);
    }
  }
}

/// Rows `rank`, `rank` + `size` … of 40 images, two of which are alike.
std::vector<std::int64_t> errors_of(comm::Communicator& ranks, std::int64_t most) {
  const at::Tensor logits = testing::normal_values({40, 3});
  logits[30].copy_(logits[11]);
  ConfidentErrors errors(most);
  for (std::int64_t row = ranks.rank(); row < 40; row += ranks.size()) {
    const std::int64_t label = row % 7 == 0 ? -1 : row == 11 || row == 30 ? 3 : row % 3;
    errors.add(testing::indices({row}), logits.narrow(0, row, 1), std::vector<std::int64_t>{label});
  }
  return errors.finish(ranks);
}

TEST(ConfidentErrors, AreTheSameOnAnyNumberOfRanks) {
  comm::Communicator world = test::world(), alone = world.split(world.rank(), "alone");
  const at::Tensor logits = testing::normal_values({40, 3});
  logits[30].copy_(logits[11]);
  const at::Tensor sure = std::get<0>(logits.softmax(1).max(1));

  const std::vector<std::int64_t> all = errors_of(world, 40), first = errors_of(world, 4);

  EXPECT_EQ(all, errors_of(alone, 40));
  EXPECT_EQ(first, std::vector<std::int64_t>(all.begin(), all.begin() + 4));
  for (const std::int64_t row : all) EXPECT_NE(row % 7, 0) << "without a label";
  for (std::size_t i = 1; i < all.size(); ++i)
    EXPECT_GE(sure[all[i - 1]].item<float>(), sure[all[i]].item<float>());
  const auto place = [&](std::int64_t row) { return std::find(all.begin(), all.end(), row) - all.begin(); };
  EXPECT_EQ(place(11) + 1, place(30)) << "of equal ones the lower row first";
}

}  // namespace
}  // namespace cohort::eval
