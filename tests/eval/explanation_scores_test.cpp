#include "cohort/eval/explanation_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/data/batch.h"
#include "cohort/data/dataset_writer.h"
#include "cohort/eval/confident_errors.h"
#include "cohort/nn/explain.h"

#include "eval/explanation_tally.h"
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
    return score_explanations(
        *model, {},
        {split, {28, count}, "site", {"dark", "bright"}, [](std::int64_t row) { return label(row); }},
        groups_of_three(), augment::Normalisation::dataset, config, ranks);
  }
  /// Of every third image none.
  static std::int64_t label(std::int64_t row) { return row % 3 == 0 ? -1 : row % 2; }
  at::Tensor values_of(const ExplanationScoreConfig& config) {
    return score(world, config).front().images.block(0, 28);
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
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].name != b[i].name || a[i].value != b[i].value) return false;
    if (a[i].interval.has_value() != b[i].interval.has_value()) return false;
    if (a[i].interval &&
        (a[i].interval->low != b[i].interval->low || a[i].interval->high != b[i].interval->high))
      return false;
  }
  return true;
}

TEST_F(ExplanationScoresTest, HaveTheSameBitsOnAnyNumberOfRanks) {
  comm::Communicator alone = world.split(world.rank(), "alone");
  ExplanationScoreConfig config = kAll;
  config.classes = ExplainedClasses::all;
  config.mask_space = MaskSpace::pixel;

  const auto together = score(world, config), single = score(alone, config);

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
    ASSERT_EQ(a.classes.size(), 2U);
    for (std::size_t c = 0; c < 2; ++c) {
      EXPECT_EQ(a.classes[c].samples, 28);
      EXPECT_TRUE(are_equal(a.classes[c].scores, b.classes[c].scores));
      EXPECT_EQ(a.curves[c].points, b.curves[c].points);
    }
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

/// The group 0, 1, 2, and a pass of it.
struct SeenGroup {
  data::Batch batch;
  nn::Conditions conditions;
  nn::Trail trail;

  SeenGroup(nn::VisionTransformer& model, const data::Dataset& split) {
    const std::vector<data::Group> group{{1, 0, {0, 1, 2}}};
    (void)split.context_runs("site");
    const auto view = augment::evaluation_view(split.description(), augment::Normalisation::dataset);
    Workers workers(1);
    batch = data::make_batch(split, group, {{"site"}, ""}, *view, workers);
    conditions = {.context = batch.context, .group = batch.group, .sample = batch.sample};
    trail = nn::encode_with_trail(model, batch.views.front(), conditions);
  }
  [[nodiscard]] at::Tensor image() const { return batch.views.front()[1]; }
  [[nodiscard]] std::int64_t answer() const { return trail.logits[1].argmax().item<std::int64_t>(); }
  /// In the place of the image, whose context it keeps.
  [[nodiscard]] nn::Trail answered(nn::VisionTransformer& model, const at::Tensor& changed) const {
    return nn::encode_beside(model, changed.unsqueeze(0), conditions, trail, testing::indices({1}));
  }
};

// By the formulas, from passes of the whole group 0, 1, 2 of which one image is changed, its context kept.
TEST_F(ExplanationScoresTest, AreThoseOfTheFormulas) {
  const at::NoGradGuard no_gradients;
  const SeenGroup seen(*model, dataset());
  const at::Tensor image = seen.image();
  const std::int64_t answer = seen.answer();
  const auto answered = [&](const at::Tensor& changed) { return seen.answered(*model, changed); };
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

// The answer is one of two classes, and so is the label.
TEST_F(ExplanationScoresTest, OfAllClassesAreTheMeanOfEach) {
  ExplanationScoreConfig config = kAll;
  config.classes = ExplainedClasses::all;
  const ExplanationScores all = std::move(score(world, config).front());
  config.classes = ExplainedClasses::label;
  const ExplanationScores label_alone = std::move(score(world, config).front());
  const at::Tensor answered = values_of(kAll), labelled = label_alone.images.block(0, 28),
                   of_all = all.images.block(0, 28);

  std::int64_t differ = 0, known = 0;
  for (std::int64_t i = 0; i < 28; ++i) {
    if (label(i) < 0) {
      EXPECT_TRUE(labelled[i].isnan().all().item<bool>()) << i;
      continue;
    }
    ++known;
    if (at::equal(labelled[i], answered[i])) continue;
    ++differ;
    EXPECT_TRUE(at::allclose(of_all[i], (labelled[i] + answered[i]) / 2, 1e-5, 1e-6)) << i;
  }
  EXPECT_GT(differ, 0) << "the answer is not always the label";
  EXPECT_LT(differ, known);
  EXPECT_EQ(label_alone.scorecard.samples, known);
  ASSERT_EQ(label_alone.scorecard.classes.size(), 2U);
  EXPECT_EQ(label_alone.scorecard.classes[0].name, "dark");
  EXPECT_EQ(label_alone.scorecard.classes[0].samples + label_alone.scorecard.classes[1].samples, known);
  double of_bright = 0, bright = 0;
  for (std::int64_t i = 0; i < 28; ++i) {
    if (label(i) != 1) continue;
    of_bright += labelled[i][5].item<double>();
    ++bright;
  }
  EXPECT_NEAR(label_alone.scorecard.classes[1].scores.back().value, of_bright / bright, 1e-6);
}

// Pixels are stored as value; normalised they are (value - mean) / deviation.
TEST_F(ExplanationScoresTest, MasksInPixelSpaceLeaveBlackAndNotTheMean) {
  const at::NoGradGuard no_gradients;
  const data::Dataset split = dataset();
  const SeenGroup seen(*model, split);
  const std::int64_t answer = seen.answer();
  const at::Tensor map =
      nn::scaled_maps(nn::reciprocam(*model, seen.trail, {2, 2}))[1][answer].view({1, 1, 2, 2});
  const at::Tensor large = at::upsample_bilinear2d(map, {8, 8}, false).view({8, 8});
  const double mean = split.description().mean.front(), deviation = split.description().deviation.front();
  const at::Tensor changed = ((seen.image() * deviation + mean) * large - mean) / deviation;
  const auto probability = [&](const at::Tensor& logits) {
    return logits.to(at::kDouble).softmax(0)[answer].item<double>();
  };
  const double before = probability(seen.trail.logits[1]),
               after = probability(seen.answered(*model, changed).logits[0]);
  ExplanationScoreConfig config{.adcc = true};
  config.mask_space = MaskSpace::pixel;

  const at::Tensor found = values_of(config)[1];

  EXPECT_NEAR(found[1].item<double>(), std::max(0.0, before - after) / before, 2e-4);
  EXPECT_FALSE(at::equal(values_of(config), values_of({.adcc = true})));
}

TEST_F(ExplanationScoresTest, HaveIntervalsOfMeans) {
  const ExplanationScores of = std::move(score(world, kAll).front());
  const at::Tensor values = of.images.block(0, 28).to(at::kDouble);

  for (std::size_t i = 0; i < of.names.size(); ++i) {
    const Score& score = *of.scorecard.find(of.names[i]);
    const double error =
        values.select(1, static_cast<std::int64_t>(i)).std().item<double>() / std::sqrt(28.0);
    ASSERT_TRUE(score.interval) << score.name;
    EXPECT_LE(score.interval->low, score.value);
    EXPECT_GE(score.interval->high, score.value);
    EXPECT_NEAR(score.interval->high - score.interval->low, 2 * 1.96 * error, 0.8 * error) << score.name;
  }
  EXPECT_TRUE(of.scorecard.find("adcc_of_means")->interval);
  // The 7 images of a site: Student's t of 6 degrees of freedom.
  const ScoredGroup& first = of.scorecard.contexts[0].groups[0];
  const at::Tensor of_site = values.narrow(0, 0, 7).select(1, 0);
  const double half = 2.446912 * of_site.std().item<double>() / std::sqrt(7.0),
               mean = of_site.mean().item<double>();
  ASSERT_TRUE(first.scores[0].interval);
  EXPECT_NEAR(first.scores[0].interval->low, std::max(0.0, mean - half), 1e-6);
  EXPECT_NEAR(first.scores[0].interval->high, std::min(1.0, mean + half), 1e-6);
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

// Half of 40 images have a region, and half of these are pointed at.
TEST(ExplanationTally, ImagesWithoutAScoreDoNotCountForIt) {
  comm::Communicator world = test::world();
  const ContextNames sites{{{"site", 0, 2}}, {"a", "b"}};
  ExplanationTally tally({.region = "any"}, sites, {"dark", "bright"}, /*points=*/1);
  const double none = std::numeric_limits<double>::quiet_NaN();
  for (std::int64_t row = world.rank(); row < 40; row += world.size()) {
    const double hit = row < 20 ? static_cast<double>(row % 2) : none;
    const std::int32_t site = row < 30 ? 0 : 1;
    const MapWorth worth{{hit, 0.25}, {}, {}};
    tally.add(row, {{static_cast<std::size_t>(site)}, {worth}}, worth, std::span(&site, 1));
  }

  const Scorecard card = tally.finish(world);

  const Score& hits = *card.find("pointing_game");
  EXPECT_EQ(card.samples, 40);
  EXPECT_DOUBLE_EQ(hits.value, 0.5);
  ASSERT_TRUE(hits.interval);
  EXPECT_NEAR(hits.interval->low, 0.5 - 1.96 * 0.5 / std::sqrt(20.0), 0.06);
  EXPECT_NEAR(hits.interval->high, 0.5 + 1.96 * 0.5 / std::sqrt(20.0), 0.06);
  ASSERT_EQ(card.contexts[0].groups.size(), 2U);
  ASSERT_EQ(card.classes.size(), 2U);
  const ScoredGroup &b = card.contexts[0].groups[1], &bright = card.classes[1];
  EXPECT_EQ(b.samples, 10);
  EXPECT_TRUE(std::isnan(b.scores[0].value));
  EXPECT_FALSE(b.scores[0].interval);
  EXPECT_EQ(bright.name, "bright");
  EXPECT_EQ(bright.samples, 10);
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
