// The task "detection" against a direct formula, on any number of ranks.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/eval/task.h"
#include "cohort/method/boxes.h"

#include "eval/ordered_records.h"
#include "support/ranks.h"

namespace cohort::eval {
namespace {

constexpr double kNoBoxes = std::numeric_limits<double>::quiet_NaN();

struct DrawnBox {
  std::array<float, 5> box;  // x0, y0, x1, y1, class
  float confidence = 0;
};
struct BoxImage {
  std::vector<DrawnBox> labelled, told;
  std::vector<std::int32_t> contexts;
};

DrawnBox drawn_box(RandomStream& random, std::int64_t classes) {
  const auto side = [&] { return static_cast<float>(4 + random.below(12)); };
  const auto x = static_cast<float>(random.below(40)), y = static_cast<float>(random.below(40));
  return {
      {x, y, x + side(), y + side(), static_cast<float>(random.below(static_cast<std::uint64_t>(classes)))},
      static_cast<float>(random.below(12)) / 16};
}

/// Boxes of classes 0 … 2, of which the last is never labelled; each fourth image has none; many confidences
/// are equal. Some boxes lie near labelled ones. Each fifth labelled box is of unknown class.
std::vector<BoxImage> images_with_boxes(std::int64_t count) {
  RandomStream random({.seed = 8, .purpose = Purpose::synthetic});
  std::vector<BoxImage> images;
  std::int64_t number = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    BoxImage image{{}, {}, {static_cast<std::int32_t>(i % 2), 3 + static_cast<std::int32_t>(i % 3 == 0)}};
    for (std::int64_t j = 0; i % 4 != 1 && j < 3; ++j) {
      image.labelled.push_back(drawn_box(random, 2));
      for (int copy = 0; copy < 2; ++copy) {  // of which the second finds it taken
        DrawnBox near = image.labelled.back();
        for (std::size_t k = 0; k < 4; ++k) near.box.at(k) += static_cast<float>(random.below(3));
        near.confidence = static_cast<float>(4 + random.below(12)) / 16;
        image.told.push_back(near);
      }
      if (++number % 5 == 0) image.labelled.back().box[4] = -1;
    }
    for (std::int64_t j = 0; i % 7 != 2 && j < 4; ++j) image.told.push_back(drawn_box(random, 3));
    images.push_back(image);
  }
  return images;
}

const std::vector<std::string> kBoxClasses{"cell", "mitosis", "absent"};

/// Passes of two images in no order, each on one rank.
Scorecard scored_boxes(const std::vector<BoxImage>& images, comm::Communicator& ranks,
                       const TaskConfig& config = {}, const std::vector<std::string>& classes = kBoxClasses) {
  const auto task = find_task("detection")
                        .make({{"boxes", data::FieldKind::boxes, data::ValueType::f32, {-1, 5}},
                               classes,
                               {{{"site", 0, 3}, {"year", 3, 2}}, {"a", "b", "nobody", "new", "old"}},
                               std::ssize(images),
                               config});
  const auto column_of = [](std::span<const BoxImage> some, std::vector<DrawnBox> BoxImage::*boxes) {
    std::vector<float> values, confidences;
    std::vector<std::int64_t> ends{0};
    for (const BoxImage& image : some) {
      for (const DrawnBox& one : image.*boxes) {
        values.insert(values.end(), one.box.begin(), one.box.end());
        confidences.push_back(one.confidence);
      }
      ends.push_back(std::ssize(confidences));
    }
    return std::tuple(at::tensor(values, at::kFloat).reshape({-1, 5}), at::tensor(confidences, at::kFloat),
                      at::tensor(ends, at::kLong));
  };
  for (std::int64_t first = (std::ssize(images) - 1) / 2 * 2; first >= 0; first -= 2) {
    if (first / 2 % ranks.size() != ranks.rank()) continue;
    const std::span<const BoxImage> some = std::span(images).subspan(
        static_cast<std::size_t>(first),
        static_cast<std::size_t>(std::min<std::int64_t>(2, std::ssize(images) - first)));
    const auto [told, confidence, ends] = column_of(some, &BoxImage::told);
    const auto [labelled, unused, labelled_ends] = column_of(some, &BoxImage::labelled);
    std::vector<std::int64_t> rows(some.size());
    std::iota(rows.begin(), rows.end(), first);
    std::vector<std::int32_t> contexts;
    for (const BoxImage& image : some)
      contexts.insert(contexts.end(), image.contexts.begin(), image.contexts.end());
    const method::Answers answers{{"boxes", told}, {"confidence", confidence}, {"boxes_offsets", ends}};
    task->add({rows, contexts, answers, {labelled, labelled_ends}});
  }
  return task->finish(ranks);
}

double intersection_over_union(const DrawnBox& a, const DrawnBox& b, double longer) {
  double both = 1, first = 1, second = 1;
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const double low = std::max(a.box.at(axis), b.box.at(axis)),
                 high = std::min(a.box.at(axis + 2), b.box.at(axis + 2));
    both *= std::max(0.0, high - low + longer);
    first *= a.box.at(axis + 2) - a.box.at(axis) + longer;
    second *= b.box.at(axis + 2) - b.box.at(axis) + longer;
  }
  return both / (first + second - both);
}

/// As the definitions read: all boxes of a class in one order, each in turn.
struct DirectBoxes {
  const std::vector<BoxImage>& images;
  bool is_coco;

  struct Entry {
    std::size_t image, box;
    float confidence;
  };
  [[nodiscard]] std::vector<Entry> in_order(float of_class) const {
    std::vector<Entry> entries;
    for (std::size_t i = 0; i < images.size(); ++i) {
      for (std::size_t j = 0; j < images[i].told.size(); ++j) {
        if (images[i].told[j].box[4] == of_class) entries.push_back({i, j, images[i].told[j].confidence});
      }
    }
    std::stable_sort(entries.begin(), entries.end(),
                     [](const Entry& a, const Entry& b) { return a.confidence > b.confidence; });
    return entries;
  }
  [[nodiscard]] bool is_enough(double overlap, double wanted) const {
    return is_coco ? overlap >= wanted : overlap > wanted;
  }
  [[nodiscard]] double positives(float of_class) const {
    double count = 0;
    for (const BoxImage& image : images) {
      for (const DrawnBox& box : image.labelled) count += box.box[4] == of_class ? 1 : 0;
    }
    return count;
  }
  [[nodiscard]] double average_precision(float of_class, double wanted) const {
    std::vector<std::vector<bool>> taken;
    for (const BoxImage& image : images) taken.emplace_back(image.labelled.size());
    std::vector<double> recalls, precisions;
    double right = 0, all = 0;
    const double positive = positives(of_class);
    if (positive == 0) return kNoBoxes;
    for (const Entry& entry : in_order(of_class)) {
      const BoxImage& image = images[entry.image];
      std::size_t best = image.labelled.size();
      double most = -1;
      bool is_unknown = false;
      for (std::size_t g = 0; g < image.labelled.size(); ++g) {
        const double overlap =
            intersection_over_union(image.told[entry.box], image.labelled[g], is_coco ? 0 : 1);
        if (!is_enough(overlap, wanted)) continue;
        is_unknown |= image.labelled[g].box[4] < 0;
        if (image.labelled[g].box[4] != of_class || taken[entry.image][g] || overlap < most) continue;
        most = overlap;
        best = g;
      }
      if (best < image.labelled.size()) {
        taken[entry.image][best] = true;
        right += 1;
      } else if (is_unknown) {
        continue;
      }
      all += 1;
      recalls.push_back(right / positive);
      precisions.push_back(right / all);
    }
    double sum = 0;
    for (int k = 0; k <= 100; ++k) {
      double best = 0;
      for (std::size_t i = 0; i < recalls.size(); ++i) {
        if (recalls[i] >= k * 0.01) best = std::max(best, precisions[i]);
      }
      sum += best;
    }
    return sum / 101;
  }
  [[nodiscard]] double response(float of_class) const {
    std::vector<std::vector<bool>> hit;
    for (const BoxImage& image : images) hit.emplace_back(image.labelled.size());
    std::vector<double> read;
    const double positive = positives(of_class);
    if (positive == 0) return kNoBoxes;
    double found = 0, wrong = 0;
    constexpr std::array<double, 7> kRates{0.125, 0.25, 0.5, 1, 2, 4, 8};
    for (const Entry& entry : in_order(of_class)) {
      const auto& told = images[entry.image].told[entry.box].box;
      const float x = (told[0] + told[2]) / 2, y = (told[1] + told[3]) / 2;
      bool is_hit = false, is_unknown = false;
      for (std::size_t g = 0; g < images[entry.image].labelled.size(); ++g) {
        const auto& box = images[entry.image].labelled[g].box;
        if (x < box[0] || x > box[2] || y < box[1] || y > box[3]) continue;
        if (box[4] == of_class) {
          is_hit = true;
          if (!hit[entry.image][g]) found += 1;
          hit[entry.image][g] = true;
        } else if (box[4] < 0) {
          is_unknown = true;
        }
      }
      if (!is_hit && is_unknown) continue;
      wrong += is_hit ? 0 : 1;
      if (read.size() < 7 && wrong / static_cast<double>(images.size()) >= kRates.at(read.size()))
        read.push_back(found / positive);
    }
    if (read.empty()) return found / positive;
    while (read.size() < 7) read.push_back(read.back());
    return std::accumulate(read.begin(), read.end(), 0.0) / 7;
  }
};

double known_mean(const std::vector<double>& values) {
  double sum = 0, count = 0;
  for (const double value : values) {
    sum += std::isnan(value) ? 0 : value;
    count += std::isnan(value) ? 0 : 1;
  }
  return count > 0 ? sum / count : kNoBoxes;
}

struct ExpectedBoxes {
  double map, ap50, ap75, froc;
};

/// Of classes `first` … `last`.
ExpectedBoxes expected_of(const DirectBoxes& direct, const std::vector<double>& overlaps, int first,
                          int last) {
  std::vector<double> maps, fifty, seventy_five, response;
  for (int c = first; c < last; ++c) {
    const auto of = static_cast<float>(c);
    std::vector<double> precisions;
    for (const double overlap : overlaps) precisions.push_back(direct.average_precision(of, overlap));
    maps.push_back(known_mean(precisions));
    fifty.push_back(direct.average_precision(of, 0.5));
    seventy_five.push_back(direct.average_precision(of, 0.75));
    response.push_back(direct.response(of));
  }
  return {known_mean(maps), known_mean(fifty), known_mean(seventy_five), known_mean(response)};
}

void expect_scores(const std::vector<Score>& scores, const ExpectedBoxes& expected) {
  ASSERT_EQ(scores.size(), 4U);
  const std::array<double, 4> values{expected.map, expected.ap50, expected.ap75, expected.froc};
  const std::array<const char*, 4> names{"map", "ap50", "ap75", "froc"};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(scores[i].name, names.at(i));
    if (std::isnan(values.at(i)))
      EXPECT_TRUE(std::isnan(scores[i].value)) << names.at(i);
    else
      EXPECT_NEAR(scores[i].value, values.at(i), 1e-12) << names.at(i);
  }
}

std::vector<BoxImage> images_of_context(const std::vector<BoxImage>& images, std::size_t key,
                                        std::int32_t value) {
  std::vector<BoxImage> some;
  for (const BoxImage& image : images) {
    if (image.contexts[key] == value) some.push_back(image);
  }
  return some;
}

TEST(Detection, ScoresAreThoseOfTheDefinitions) {
  comm::Communicator world = test::world();
  const std::vector<BoxImage> images = images_with_boxes(26);
  const std::vector<double> coco = TaskConfig{}.iou, others{0.4, 0.45, 0.7};
  for (const bool is_coco : {true, false}) {
    for (const std::vector<double>& overlaps : {coco, others}) {
      const DirectBoxes direct{images, is_coco};
      const Scorecard card = scored_boxes(
          images, world, {.iou = overlaps, .box_rule = is_coco ? BoxRule::coco : BoxRule::plus_one});
      EXPECT_EQ(card.samples, 26);
      expect_scores(card.all, expected_of(direct, overlaps, 0, 3));
      ASSERT_EQ(card.classes.size(), 3U);
      for (int c = 0; c < 3; ++c) {
        expect_scores(card.classes[static_cast<std::size_t>(c)].scores,
                      expected_of(direct, overlaps, c, c + 1));
        EXPECT_EQ(card.classes[static_cast<std::size_t>(c)].samples, direct.positives(static_cast<float>(c)));
      }
      EXPECT_LE(card.all.front().interval->low, card.all.front().value);
      EXPECT_GE(card.all.front().interval->high, card.all.front().value);
    }
  }
}

TEST(Detection, ScoresContexts) {
  comm::Communicator world = test::world();
  const std::vector<BoxImage> images = images_with_boxes(26);
  const Scorecard card = scored_boxes(images, world);
  ASSERT_EQ(card.contexts.size(), 2U);
  EXPECT_EQ(card.contexts[1].key, "year");
  for (std::size_t key = 0; key < 2; ++key) {
    ASSERT_EQ(card.contexts[key].groups.size(), 2U);  // without "nobody"
    for (std::size_t i = 0; i < 2; ++i) {
      const auto value = static_cast<std::int32_t>(3 * key + i);
      const std::vector<BoxImage> own = images_of_context(images, key, value);
      EXPECT_EQ(card.contexts[key].groups[i].samples, std::ssize(own));
      expect_scores(card.contexts[key].groups[i].scores,
                    expected_of(DirectBoxes{own, true}, TaskConfig{}.iou, 0, 3));
    }
  }
}

TEST(Detection, LooksAtNoClassesThatHaveNoNames) {
  comm::Communicator world = test::world();
  std::vector<BoxImage> images = images_with_boxes(9);
  const Scorecard card = scored_boxes(images, world, {}, {});
  for (BoxImage& image : images) {
    for (DrawnBox& box : image.labelled) box.box[4] = 0;
    for (DrawnBox& box : image.told) box.box[4] = 0;
  }
  expect_scores(card.all, expected_of(DirectBoxes{images, true}, TaskConfig{}.iou, 0, 1));
  EXPECT_TRUE(card.classes.empty());
}

TEST(Detection, CountsTheHundredMostConfidentBoxesAsCocoDoes) {
  comm::Communicator world = test::world();
  std::vector<BoxImage> images(1);
  images[0].contexts = {0, 3};
  images[0].labelled.push_back({{0, 0, 10, 10, 0}, 0});
  for (int i = 0; i < 100; ++i) images[0].told.push_back({{40, 40, 50, 50, 0}, 0.9F});
  images[0].told.push_back({{0, 0, 10, 10, 0}, 0.5F});
  EXPECT_EQ(scored_boxes(images, world).all.front().value, 0);
  EXPECT_NEAR(scored_boxes(images, world, {.box_rule = BoxRule::plus_one}).all.front().value, 1.0 / 101,
              1e-12);
  images[0].told.erase(images[0].told.begin());
  EXPECT_NEAR(scored_boxes(images, world).all.front().value, 1.0 / 100, 1e-12);
}

TEST(Detection, HasTheSameBitsOnAnyNumberOfRanks) {
  comm::Communicator world = test::world();
  comm::Communicator alone = world.split(world.rank(), "alone");
  const std::vector<BoxImage> images = images_with_boxes(40);
  const Scorecard together = scored_boxes(images, world), single = scored_boxes(images, alone);
  const auto expect_same = [](const std::vector<Score>& scores, const std::vector<Score>& others) {
    ASSERT_EQ(scores.size(), others.size());
    for (std::size_t i = 0; i < scores.size(); ++i) {
      EXPECT_TRUE(scores[i].value == others[i].value ||
                  (std::isnan(scores[i].value) && std::isnan(others[i].value)));
      ASSERT_EQ(scores[i].interval.has_value(), others[i].interval.has_value());
      if (!scores[i].interval) continue;
      EXPECT_EQ(scores[i].interval->low, others[i].interval->low);
      EXPECT_EQ(scores[i].interval->high, others[i].interval->high);
    }
  };
  expect_same(together.all, single.all);
  for (std::size_t key = 0; key < 2; ++key) {
    for (std::size_t i = 0; i < 2; ++i)
      expect_same(together.contexts[key].groups[i].scores, single.contexts[key].groups[i].scores);
  }
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(together.curves[i].points, single.curves[i].points);
}

TEST(Detection, NothingIsFoundByNoBoxes) {
  comm::Communicator world = test::world();
  std::vector<BoxImage> images = images_with_boxes(9);
  for (BoxImage& image : images) image.told.clear();
  for (const Score& score : scored_boxes(images, world).all) EXPECT_EQ(score.value, 0) << score.name;
}

TEST(Detection, RefusesWhatCannotBeScored) {
  comm::Communicator world = test::world();
  std::vector<BoxImage> images = images_with_boxes(9);
  images[8].told.push_back({{0, 0, NAN, 1, 0}, 0.5F});  // on one rank alone
  EXPECT_THROW((void)scored_boxes(images, world), NumericalError);
  images = images_with_boxes(9);
  for (BoxImage& image : images) image.labelled.clear();
  EXPECT_THROW((void)scored_boxes(images, world), DataError);
  EXPECT_THROW((void)scored_boxes(images, world, {.iou = {}}), UsageError);
  EXPECT_THROW((void)scored_boxes(images, world, {.iou = std::vector<double>(61, 0.5)}), UsageError);
}

// Several runs of a rank, another number of records on every rank, and rounds in which ranks have none.
TEST(OrderedRecords, ComeInOneOrderFromAllRanks) {
  comm::Communicator world = test::world();
  OrderedRecords records;
  const std::int64_t count = 5 * static_cast<std::int64_t>(OrderedRecords::kRun) / 2;
  std::int64_t sum = 0;
  RandomStream random({.seed = 4, .purpose = Purpose::synthetic});
  for (std::int64_t i = 0; i < count; ++i) {
    const auto first = static_cast<std::int64_t>(random.below(1000)) - 500;
    if (i % 3 == 0 && i % (3 * world.size()) / 3 != world.rank()) continue;
    if (i % 3 != 0 && world.rank() != 0) continue;  // rank 0 has more
    records.add({first, i, 7 * i, 0, 0, 0, 0, first});
  }
  std::int64_t met = 0;
  bool is_in_order = true;
  OrderedRecords::Record last{-1000};
  records.for_each(world, [&](const OrderedRecords::Record& record) {
    is_in_order = is_in_order && last < record && record[2] == 7 * record[1] && record[7] == record[0];
    last = record;
    sum += record[1];
    ++met;
  });
  EXPECT_EQ(met, count);
  EXPECT_TRUE(is_in_order);
  EXPECT_EQ(sum, count * (count - 1) / 2);
}

TEST(OrderedRecords, MayBeOnOneRankOrOnNone) {
  comm::Communicator world = test::world();
  std::int64_t met = 0;
  OrderedRecords none;
  none.for_each(world, [&](const OrderedRecords::Record&) { ++met; });
  EXPECT_EQ(met, 0);
  OrderedRecords one;
  if (world.rank() == world.size() - 1) one.add({5, 0, 0, 0, 0, 0, 0, 0});
  one.for_each(world, [&](const OrderedRecords::Record& record) { met += record[0]; });
  EXPECT_EQ(met, 5);
}

}  // namespace
}  // namespace cohort::eval
