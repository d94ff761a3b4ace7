// The task "segmentation" against direct formulas, on any number of ranks.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/eval/task.h"

#include "eval/pixels.h"
#include "support/golden.h"
#include "support/ranks.h"

namespace cohort::eval {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Images with masks; contexts of two keys, of which the first has a value without images.
struct Masks {
  at::Tensor logits, masks;            // [N, K, …], [N, …]
  std::vector<std::int32_t> contexts;  // [N, 2]
  std::vector<std::string> classes;
};

/// Images i with class 2 where i is odd; class 3 is neither labelled nor answered. Of image 4 nothing is
/// known.
Masks masks_of(std::int64_t count, const std::vector<std::int64_t>& size, std::int64_t columns) {
  std::vector<std::int64_t> shape{count};
  shape.insert(shape.end(), size.begin(), size.end());
  Masks masks{{}, at::zeros(shape, at::kByte), {}, {"sky", "roof", "door", "car"}};
  masks.classes.resize(static_cast<std::size_t>(std::max<std::int64_t>(2, columns)));
  shape.insert(shape.begin() + 1, columns);
  masks.logits = at::zeros(shape);
  RandomStream random({.seed = 5, .purpose = Purpose::synthetic});
  auto* logit = masks.logits.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < masks.logits.numel(); ++i) logit[i] = static_cast<float>(random.below(5)) - 2;
  if (columns > 3) masks.logits.select(1, 3).fill_(-9);
  auto* label = masks.masks.mutable_data_ptr<std::uint8_t>();
  const std::int64_t pixels = masks.masks[0].numel();
  for (std::int64_t i = 0; i < masks.masks.numel(); ++i) {
    const std::uint64_t drawn = random.below(i / pixels % 2 == 1 && columns > 2 ? 8 : 6);
    label[i] =
        drawn == 0 || i / pixels == 4 ? 255 : static_cast<std::uint8_t>(drawn < 4 ? 0 : (drawn - 2) / 2);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    masks.contexts.push_back(static_cast<std::int32_t>(i % 3));
    masks.contexts.push_back(4 + static_cast<std::int32_t>(i % 2));
  }
  return masks;
}

TaskInput input_of(const Masks& masks, const TaskConfig& config = {}) {
  return {{"mask", data::FieldKind::mask, data::ValueType::u8, masks.masks.sizes().slice(1).vec()},
          masks.classes,
          {{{"site", 0, 4}, {"year", 4, 2}}, {"a", "b", "c", "nobody", "old", "new"}},
          masks.masks.size(0),
          config};
}

/// Passes of two images in no order, each on one rank.
Scorecard scored(const Masks& masks, comm::Communicator& ranks, const TaskConfig& config = {}) {
  const auto task = find_task("segmentation").make(input_of(masks, config));
  const std::int64_t count = masks.masks.size(0);
  for (std::int64_t first = (count - 1) / 2 * 2; first >= 0; first -= 2) {
    if (first / 2 % ranks.size() != ranks.rank()) continue;
    const std::int64_t images = std::min<std::int64_t>(2, count - first);
    const at::Tensor rows = at::arange(first, first + images);
    const method::Answers answers{{"logits", masks.logits.narrow(0, first, images)}};
    task->add({{rows.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(images)},
               std::span(masks.contexts)
                   .subspan(static_cast<std::size_t>(2 * first), static_cast<std::size_t>(2 * images)),
               answers,
               {masks.masks.narrow(0, first, images), {}}});
  }
  return task->finish(ranks);
}

at::Tensor answers_of(const Masks& masks, double threshold = 0.5) {
  if (masks.logits.size(1) > 1) return masks.logits.argmax(1);
  return masks.logits.select(1, 0).sigmoid().ge(threshold).to(at::kLong);
}

std::int64_t count_of(const at::Tensor& where) {
  return where.sum().item<std::int64_t>();
}

double mean_of(const std::vector<double>& values) {
  double sum = 0, count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    count += 1;
  }
  return count > 0 ? sum / count : kNaN;
}

/// Of some images as the formulas read.
struct Direct {
  at::Tensor answers, labels;  // [n, …], without images of which nothing is known

  Direct(const Masks& masks, const std::vector<std::int64_t>& images, double threshold = 0.5)
      : answers(answers_of(masks, threshold)), labels(masks.masks.to(at::kLong)) {
    std::vector<std::int64_t> kept;
    for (const std::int64_t i : images) {
      if (count_of(labels[i].ne(255)) > 0) kept.push_back(i);
    }
    const at::Tensor index = at::tensor(kept, at::kLong);
    labels = labels.index_select(0, index);
    answers = answers.index_select(0, index).where(labels.ne(255), at::full({}, 255));
  }
  [[nodiscard]] double dice(std::int64_t c) const { return dice(answers, labels, c); }
  static double dice(const at::Tensor& a, const at::Tensor& b, std::int64_t c) {
    const std::int64_t sum = count_of(a.eq(c)) + count_of(b.eq(c));
    return sum == 0 ? kNaN
                    : 2.0 * static_cast<double>(count_of(a.eq(c) & b.eq(c))) / static_cast<double>(sum);
  }
  [[nodiscard]] double iou(std::int64_t c) const {
    return ratio(answers.eq(c) & labels.eq(c), answers.eq(c) | labels.eq(c));
  }
  [[nodiscard]] double precision(std::int64_t c) const {
    return ratio(answers.eq(c) & labels.eq(c), answers.eq(c));
  }
  [[nodiscard]] double recall(std::int64_t c) const {
    return ratio(answers.eq(c) & labels.eq(c), labels.eq(c));
  }
  [[nodiscard]] double accuracy() const { return ratio(answers.eq(labels) & labels.ne(255), labels.ne(255)); }
  static double ratio(const at::Tensor& part, const at::Tensor& whole) {
    return count_of(whole) == 0 ? kNaN
                                : static_cast<double>(count_of(part)) / static_cast<double>(count_of(whole));
  }
  [[nodiscard]] double image_dice(std::int64_t c, bool positive) const {
    std::vector<double> values;
    for (std::int64_t i = 0; i < labels.size(0); ++i) {
      if (positive && count_of(labels[i].eq(c)) == 0) continue;
      const double value = dice(answers[i], labels[i], c);
      values.push_back(std::isnan(value) ? 1.0 : value);
    }
    return mean_of(values);
  }
  using Points = std::vector<std::array<std::int64_t, 2>>;
  static Points boundary_of(const at::Tensor& map, std::int64_t c) {
    Points points;
    for (std::int64_t y = 0; y < map.size(0); ++y) {
      for (std::int64_t x = 0; x < map.size(1); ++x) {
        if (map[y][x].item<std::int64_t>() != c) continue;
        bool found = false;
        for (std::int64_t v = 0; v < map.size(0); ++v) {
          for (std::int64_t u = 0; u < map.size(1); ++u) {
            const auto other = map[v][u].item<std::int64_t>();
            found |= std::abs(v - y) + std::abs(u - x) == 1 && other != c && other != 255;
          }
        }
        if (found) points.push_back({y, x});
      }
    }
    return points;
  }
  static double close_part(const Points& own, const Points& others, double tolerance) {
    double close = 0;
    for (const auto& point : own)
      close += std::any_of(others.begin(), others.end(), [&](const auto& other) {
        return std::hypot(point[0] - other[0], point[1] - other[1]) <= tolerance;
      });
    return own.empty() ? 0 : close / static_cast<double>(own.size());
  }
  [[nodiscard]] double boundary(std::int64_t c, double tolerance) const {
    std::vector<double> values;
    for (std::int64_t i = 0; i < labels.size(0); ++i) {
      const Points answered = boundary_of(answers[i], c), labelled = boundary_of(labels[i], c);
      if (answered.empty() && labelled.empty()) continue;
      const double precision = close_part(answered, labelled, tolerance),
                   recall = close_part(labelled, answered, tolerance);
      values.push_back(precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0);
    }
    return mean_of(values);
  }
};

void expect_score(const std::vector<Score>& scores, const std::string& name, double expected) {
  const auto found =
      std::find_if(scores.begin(), scores.end(), [&](const Score& score) { return score.name == name; });
  ASSERT_NE(found, scores.end()) << name;
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(found->value)) << name << " " << found->value;
    return;
  }
  EXPECT_NEAR(found->value, expected, 1e-12) << name;
  if (!found->interval) return;
  EXPECT_LE(found->interval->low, expected + 1e-12) << name;
  EXPECT_GE(found->interval->high, expected - 1e-12) << name;
}

std::vector<std::int64_t> images_where(std::int64_t count, const std::function<bool(std::int64_t)>& wanted) {
  std::vector<std::int64_t> images;
  for (std::int64_t i = 0; i < count; ++i) {
    if (wanted(i)) images.push_back(i);
  }
  return images;
}

std::vector<std::int64_t> all_images(const Masks& masks) {
  return images_where(masks.masks.size(0), [](std::int64_t) { return true; });
}

double mean_over(std::int64_t first, std::int64_t classes, const std::function<double(std::int64_t)>& score) {
  std::vector<double> values;
  for (std::int64_t c = first; c < classes; ++c) values.push_back(score(c));
  return mean_of(values);
}

void expect_scores(const Scorecard& card, const Direct& direct, std::int64_t first, std::int64_t classes,
                   bool is_volume, double tolerance) {
  const std::map<std::string, std::function<double(std::int64_t)>> by_class{
      {"dice", [&](std::int64_t c) { return direct.dice(c); }},
      {"iou", [&](std::int64_t c) { return direct.iou(c); }},
      {"precision", [&](std::int64_t c) { return direct.precision(c); }},
      {"recall", [&](std::int64_t c) { return direct.recall(c); }},
      {"image_dice", [&](std::int64_t c) { return direct.image_dice(c, false); }},
      {"positive_image_dice", [&](std::int64_t c) { return direct.image_dice(c, true); }},
      {"boundary_f", [&](std::int64_t c) { return is_volume ? kNaN : direct.boundary(c, tolerance); }}};
  ASSERT_EQ(card.classes.size(), static_cast<std::size_t>(classes));
  for (const auto& [name, score] : by_class) {
    expect_score(card.all, name, mean_over(first, classes, score));
    for (std::int64_t c = 0; c < classes; ++c)
      expect_score(card.classes[static_cast<std::size_t>(c)].scores, name, score(c));
  }
  expect_score(card.all, "pixel_accuracy", direct.accuracy());
  EXPECT_EQ(card.all.front().name, "dice");
  EXPECT_EQ(card.samples, direct.labels.size(0));
}

void expect_same_bits(const std::vector<Score>& scores, const std::vector<Score>& others) {
  ASSERT_EQ(scores.size(), others.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    EXPECT_EQ(scores[i].name, others[i].name);
    EXPECT_TRUE(scores[i].value == others[i].value ||
                (std::isnan(scores[i].value) && std::isnan(others[i].value)))
        << scores[i].name;
    ASSERT_EQ(scores[i].interval.has_value(), others[i].interval.has_value());
    if (!scores[i].interval) continue;
    EXPECT_EQ(scores[i].interval->low, others[i].interval->low);
    EXPECT_EQ(scores[i].interval->high, others[i].interval->high);
  }
}

TEST(Segmentation, ScoresAreThoseOfTheFormulas) {
  comm::Communicator world = test::world();
  const Masks masks = masks_of(9, {6, 7}, 4);
  for (const double tolerance : {0.0, 1.0, 1.5}) {
    const Scorecard card = scored(masks, world, {.boundary_tolerance = tolerance});
    expect_scores(card, Direct(masks, all_images(masks)), 0, 4, false, tolerance);
  }
}

TEST(Segmentation, TheImagesWithTheLowestDiceAreToBeLookedAt) {
  comm::Communicator world = test::world();
  Masks masks = masks_of(9, {6, 7}, 4);
  for (const std::int64_t right : {2, 4})  // of image 4 nothing is known
    masks.logits[right] = at::one_hot(masks.masks[right].to(at::kLong).clamp_max(3), 4).permute({2, 0, 1});
  std::vector<std::pair<double, std::int64_t>> expected;
  for (const std::int64_t i : {0, 1, 3, 5, 6, 7, 8}) {
    const Direct direct(masks, {i});
    expected.emplace_back(mean_over(0, 4, [&](std::int64_t c) { return direct.image_dice(c, false); }), i);
  }
  std::sort(expected.begin(), expected.end());
  const Scorecard card = scored(masks, world);
  ASSERT_EQ(card.cases.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto& [dice, row] = expected[i];
    EXPECT_EQ(card.cases[i].row, row);
    EXPECT_NEAR(card.cases[i].score, dice, 1e-12);
    const Direct direct(masks, {row});
    std::int64_t worst = 0;
    for (std::int64_t c = 1; c < 4; ++c)
      if (direct.image_dice(c, false) < direct.image_dice(worst, false)) worst = c;
    EXPECT_EQ(card.cases[i].what,
              fmt::format("Dice {:.3f}, least of {}", dice, masks.classes[static_cast<std::size_t>(worst)]));
  }
}

TEST(Segmentation, OneLogitIsTheSecondOfTwoClasses) {
  comm::Communicator world = test::world();
  Masks masks = masks_of(7, {5, 4}, 1);
  for (const double threshold : {0.5, 0.8}) {
    const Scorecard card = scored(masks, world, {.threshold = threshold});
    expect_scores(card, Direct(masks, all_images(masks), threshold), 1, 2, false, 2);
  }
  const Scorecard one = scored(masks, world, {.threshold = 0.6});
  masks.logits = at::cat({at::full_like(masks.logits, 0.405), masks.logits}, 1);  // of a probability of 0.6
  expect_same_bits(one.all, scored(masks, world).all);
}

TEST(Segmentation, KnowsVolumes) {
  comm::Communicator world = test::world();
  const Masks masks = masks_of(5, {3, 4, 2}, 3);
  expect_scores(scored(masks, world), Direct(masks, all_images(masks)), 0, 3, true, 2);
}

TEST(Segmentation, ScoresContexts) {
  comm::Communicator world = test::world();
  const Masks masks = masks_of(9, {6, 7}, 4);
  const Scorecard card = scored(masks, world);
  ASSERT_EQ(card.contexts.size(), 2U);
  EXPECT_EQ(card.contexts[0].key, "site");
  ASSERT_EQ(card.contexts[0].groups.size(), 3U);  // without "nobody"
  ASSERT_EQ(card.contexts[1].groups.size(), 2U);
  for (std::size_t key = 0; key < 2; ++key) {
    const std::int64_t values = key == 0 ? 3 : 2;
    for (std::int64_t value = 0; value < values; ++value) {
      const ScoredGroup& group = card.contexts[key].groups[static_cast<std::size_t>(value)];
      const Direct direct(masks, images_where(9, [&](std::int64_t i) { return i % values == value; }));
      EXPECT_EQ(group.samples, direct.labels.size(0));
      EXPECT_EQ(group.scores.front().name, "dice");
      expect_score(group.scores, "dice", mean_over(0, 4, [&](std::int64_t c) { return direct.dice(c); }));
      expect_score(group.scores, "iou", mean_over(0, 4, [&](std::int64_t c) { return direct.iou(c); }));
      expect_score(group.scores, "pixel_accuracy", direct.accuracy());
      expect_score(group.scores, "image_dice",
                   mean_over(0, 4, [&](std::int64_t c) { return direct.image_dice(c, false); }));
    }
  }
}

TEST(Segmentation, HasTheSameBitsOnAnyNumberOfRanks) {
  comm::Communicator world = test::world();
  comm::Communicator alone = world.split(world.rank(), "alone");
  const Masks masks = masks_of(9, {6, 7}, 4);
  const Scorecard together = scored(masks, world), single = scored(masks, alone);
  expect_same_bits(together.all, single.all);
  ASSERT_EQ(together.classes.size(), single.classes.size());
  for (std::size_t c = 0; c < single.classes.size(); ++c)
    expect_same_bits(together.classes[c].scores, single.classes[c].scores);
  for (std::size_t key = 0; key < 2; ++key) {
    ASSERT_EQ(together.contexts[key].groups.size(), single.contexts[key].groups.size());
    for (std::size_t i = 0; i < single.contexts[key].groups.size(); ++i)
      expect_same_bits(together.contexts[key].groups[i].scores, single.contexts[key].groups[i].scores);
  }
}

// Linear heads of LoVT: flags of pixels for each class, of which each is scored alone.
TEST(Segmentation, HasThePublishedNumbersOfOneClass) {
  comm::Communicator world = test::world();
  for (const char* name : {"seg_linear", "seg_linear_classes"}) {
    const testing::Golden golden(name);
    const at::Tensor probability = golden["out.probability"].to(at::kDouble), targets = golden["in.targets"];
    const auto& names = golden.description().at("classes");
    for (std::size_t c = 0; c < names.size(); ++c) {
      const auto channel = static_cast<std::int64_t>(c);
      Masks masks{probability.narrow(1, channel, 1).logit().to(at::kFloat),
                  targets.select(1, channel).to(at::kByte),
                  std::vector<std::int32_t>(static_cast<std::size_t>(2 * targets.size(0))),
                  {"none", names[c]}};
      for (std::size_t i = 1; i < masks.contexts.size(); i += 2) masks.contexts[i] = 4;
      const Scorecard card = scored(masks, world);
      const auto& expected = golden.description().at("metrics").at(names[c].get<std::string>());
      const bool occurs = !expected.at("positive_sample_dice").is_null();
      expect_score(card.all, "dice", expected.at("dice"));
      expect_score(card.all, "iou", expected.at("iou"));
      expect_score(card.all, "precision", expected.at("precision"));
      expect_score(card.all, "recall", occurs ? expected.at("recall").get<double>() : kNaN);  // published: 0
      expect_score(card.all, "positive_image_dice",
                   occurs ? expected.at("positive_sample_dice").get<double>() : kNaN);
    }
  }
}

// More contexts than are added up at once.
TEST(Segmentation, AddsUpManyContexts) {
  comm::Communicator world = test::world();
  Masks masks = masks_of(3, {2, 2}, 1);
  TaskInput input = input_of(masks);
  input.contexts.values.assign(2500, "without images");
  input.contexts.keys = {{"site", 0, 2500}};
  input.contexts.values[2048] = "with images";
  const auto task = find_task("segmentation").make(std::move(input));
  const method::Answers answers{{"logits", masks.logits}};
  const std::vector<std::int64_t> rows{0, 1, 2};
  const std::vector<std::int32_t> contexts(3, 2048);
  if (world.rank() == world.size() - 1) task->add({rows, contexts, answers, {masks.masks, {}}});
  const Scorecard card = task->finish(world);
  ASSERT_EQ(card.contexts.front().groups.size(), 1U);
  EXPECT_EQ(card.contexts.front().groups.front().name, "with images");
  expect_score(card.contexts.front().groups.front().scores, "dice", card.all.front().value);
  EXPECT_EQ(card.worst()->name, "with images");
}

TEST(Segmentation, RefusesWhatCannotBeScored) {
  comm::Communicator world = test::world();
  Masks masks = masks_of(5, {3, 3}, 3);
  masks.masks.fill_(255);
  EXPECT_THROW((void)scored(masks, world), DataError);
  masks = masks_of(5, {3, 3}, 3);
  masks.logits[4][0][0][0] = INFINITY;  // on one rank alone
  EXPECT_THROW((void)scored(masks, world), NumericalError);
}

TEST(Segmentation, NamesTheRowOfAClassThatIsNone) {
  Masks masks = masks_of(2, {3, 3}, 4);
  masks.masks[1][2][2] = 7;
  const auto task = find_task("segmentation").make(input_of(masks));
  const method::Answers answers{{"logits", at::zeros({2, 4, 3, 3})}};
  const std::vector<std::int64_t> rows{30, 31};
  try {
    task->add({rows, masks.contexts, answers, {masks.masks, {}}});
    FAIL() << "a mask of class 7 was scored";
  } catch (const DataError& error) {
    EXPECT_EQ(error.text().what, "a mask has the class 7, but its field names 4 classes");
    EXPECT_EQ(error.text().where, "field 'mask' of row 31");
  }
}

}  // namespace
}  // namespace cohort::eval
