#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <boost/math/distributions/students_t.hpp>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/eval/task.h"

#include "eval/answers.h"
#include "eval/average_precision.h"
#include "eval/box_matching.h"
#include "eval/ordered_records.h"

// Boxes and how sure the method is of each. Boxes are matched image by image; what became of them is a record
// each, and all records of all ranks pass by in the order of confidences, of equal ones in that of rows and
// of boxes in them, while precision and recall are counted: for all images, then for each context, of which
// every key has an order of its own. Classes that no box of the split has are left out of means. Without
// names of classes boxes have none, and all are compared with all. Boxes whose class is not known (-1) are
// not to be found, and those that are said to be there are neither right nor wrong.
namespace cohort::eval {
namespace {

constexpr double kNoBoxScore = std::numeric_limits<double>::quiet_NaN();

/// Scores of the classes in question, as Scorecard::all has them.
struct BoxScores {
  double map = kNoBoxScore, ap50 = kNoBoxScore, ap75 = kNoBoxScore, froc = kNoBoxScore;
};
struct BoxScore {
  const char* name;
  double BoxScores::*value;
};
constexpr BoxScore kBoxScores[] = {{"map", &BoxScores::map},
                                   {"ap50", &BoxScores::ap50},
                                   {"ap75", &BoxScores::ap75},
                                   {"froc", &BoxScores::froc}};

/// What records hold; sorted by group, order, row, place, class.
enum BoxField : std::size_t { kGroup, kOrder, kRow, kPlace, kClass, kMatched, kIgnoredAt, kFound };
constexpr std::int64_t kFirst = std::numeric_limits<std::int64_t>::min();  // order of what is no told box
constexpr std::int64_t kImage = -1;  // class of the record of an image; those of its boxes have kFirst, too

/// Numbers that ascend as confidences fall.
std::int64_t falling(double confidence) {
  const auto bits = std::bit_cast<std::int64_t>(confidence + 0.0);
  return ~(bits >= 0 ? bits : bits ^ std::numeric_limits<std::int64_t>::max());
}

/// Overlaps that are looked at: those of the options, then 0.5 and 0.75 where they are not among them.
struct Overlaps {
  explicit Overlaps(std::vector<double> chosen) : all(std::move(chosen)), averaged(all.size()) {
    constexpr std::size_t kMost = 60;  // with the other two bits of a number
    if (all.empty() || all.size() > kMost)
      throw UsageError({fmt::format("eval.task.iou lists {} overlaps", all.size()), "eval.task.iou",
                        fmt::format("list 1 to {} of them, such as [0.5, 0.75]", kMost)});
    at50 = number_of(0.5);
    at75 = number_of(0.75);
  }
  std::vector<double> all;
  std::size_t averaged;  // the first ones, which map is the mean over
  std::size_t at50 = 0, at75 = 0;

 private:
  std::size_t number_of(double overlap) {
    const auto found = std::find(all.begin(), all.end(), overlap);
    if (found != all.end()) return static_cast<std::size_t>(found - all.begin());
    all.push_back(overlap);
    return all.size() - 1;
  }
};

/// Images are drawn into as many parts for intervals.
constexpr std::size_t kParts = 20;

std::size_t part_of_row(std::int64_t row) {
  return static_cast<std::size_t>(
      RandomStream({.purpose = Purpose::bootstrap, .time = 2, .sample = row}).below(kParts));
}

/// One class in all images but those of one part.
struct ClassCount {
  std::int64_t positives = 0;
  std::vector<AveragePrecision> precisions;  // by overlap
  FreeResponse response;
};

/// Images of one group, counted as a whole and without each of the parts.
class BoxCounts {
 public:
  BoxCounts(const Overlaps& overlaps, std::size_t classes)
      : overlaps_(overlaps), classes_(classes), counts_((kParts + 1) * classes) {}

  void add(const OrderedRecords::Record& record);
  [[nodiscard]] std::int64_t images() const { return images_.back(); }
  [[nodiscard]] const ClassCount& of(std::size_t c) const { return count(kParts, c); }
  [[nodiscard]] BoxScores scores() const { return scores_of(kParts, 0, classes_); }
  [[nodiscard]] BoxScores scores(std::size_t c) const { return scores_of(kParts, c, c + 1); }
  /// The jackknife (J. Shao, D. Tu, "The Jackknife and Bootstrap", 1995) without each part in turn, ± the
  /// quantile of Student's t; nothing where fewer than two parts have images.
  [[nodiscard]] std::optional<Interval> interval(double BoxScores::*score, std::size_t first,
                                                 std::size_t last) const;
  [[nodiscard]] std::vector<Score> listed(std::size_t first, std::size_t last) const;
  [[nodiscard]] std::vector<Score> listed() const { return listed(0, classes_); }

 private:
  [[nodiscard]] const ClassCount& count(std::size_t part, std::size_t c) const {
    return counts_[part * classes_ + c];
  }
  void add_to(ClassCount& count, const OrderedRecords::Record& record, std::int64_t images) const;
  [[nodiscard]] BoxScores scores_of(std::size_t part, std::size_t first, std::size_t last) const;

  const Overlaps& overlaps_;
  std::size_t classes_;
  std::array<std::int64_t, kParts + 1> images_{};  // without the part; the last one: of all
  std::vector<ClassCount> counts_;                 // [kParts + 1, classes]
};

class Detection final : public Task {
 public:
  explicit Detection(TaskInput input)
      : input_(std::move(input)),
        overlaps_(input_.config.iou),
        classes_(std::max<std::size_t>(1, input_.classes.size())),
        orders_(1 + input_.contexts.keys.size()) {}

  void add(const AnsweredImages& images) override;
  Scorecard finish(comm::Communicator& ranks) override;

 private:
  /// Boxes of one image by class; behind them those of unknown class.
  using Labelled = std::vector<std::vector<method::Box>>;
  using Told = std::vector<std::vector<ToldBox>>;

  [[nodiscard]] std::optional<std::size_t> class_of(float number) const;
  [[nodiscard]] Labelled labelled_boxes(const at::Tensor& boxes) const;
  [[nodiscard]] Told told_boxes(const at::Tensor& boxes, const at::Tensor& confidence) const;
  void put_image(std::int64_t row, std::span<const std::int32_t> contexts, const Labelled& labelled,
                 Told told);
  void put(std::span<const std::int32_t> contexts, OrderedRecords::Record record);
  [[nodiscard]] ScoredContexts contexts_of(std::size_t key, comm::Communicator& ranks);
  [[nodiscard]] std::vector<Curve> curves_of(const BoxCounts& counts) const;

  TaskInput input_;
  Overlaps overlaps_;
  std::size_t classes_;
  std::vector<OrderedRecords> orders_;  // of all, then of every key, grouped by its values
  bool finite_ = true;
};

void BoxCounts::add_to(ClassCount& count, const OrderedRecords::Record& record, std::int64_t images) const {
  if (record[kOrder] == kFirst) {
    count.positives += record[kFound];
    count.precisions.resize(overlaps_.all.size());
    return;
  }
  if (count.positives == 0) return;
  const auto matched = static_cast<std::uint64_t>(record[kMatched]),
             ignored = static_cast<std::uint64_t>(record[kIgnoredAt]);
  for (std::size_t t = 0; t < overlaps_.all.size(); ++t) {
    if ((ignored >> t & 1) == 0) count.precisions[t].add((matched >> t & 1) != 0, count.positives);
  }
  if (record[kFound] != MatchedBox::kIgnored)
    count.response.add(std::max<std::int64_t>(0, record[kFound]), record[kFound] == MatchedBox::kWrong,
                       images);
}

void BoxCounts::add(const OrderedRecords::Record& record) {
  const std::size_t own = part_of_row(record[kRow]);
  for (std::size_t part = 0; part <= kParts; ++part) {
    if (part == own) continue;
    if (record[kClass] == kImage)
      ++images_.at(part);
    else
      add_to(counts_[part * classes_ + static_cast<std::size_t>(record[kClass])], record, images_.at(part));
  }
}

BoxScores BoxCounts::scores_of(std::size_t part, std::size_t first, std::size_t last) const {
  BoxScores sums{0, 0, 0, 0};
  double classes = 0;
  for (std::size_t c = first; c < last; ++c) {
    const ClassCount& of = count(part, c);
    if (of.positives == 0) continue;
    classes += 1;
    for (std::size_t t = 0; t < overlaps_.averaged; ++t)
      sums.map += of.precisions[t].value() / static_cast<double>(overlaps_.averaged);
    sums.ap50 += of.precisions[overlaps_.at50].value();
    sums.ap75 += of.precisions[overlaps_.at75].value();
    sums.froc += of.response.value(of.positives);
  }
  if (classes == 0) return {};
  return {sums.map / classes, sums.ap50 / classes, sums.ap75 / classes, sums.froc / classes};
}

std::optional<Interval> BoxCounts::interval(double BoxScores::*score, std::size_t first,
                                            std::size_t last) const {
  double sum = 0, squares = 0, parts = 0;
  for (std::size_t part = 0; part < kParts; ++part) {
    if (images_.at(part) == images()) continue;
    const double value = scores_of(part, first, last).*score;
    if (std::isnan(value)) return std::nullopt;  // all boxes are in that part
    sum += value;
    squares += value * value;
    parts += 1;
  }
  if (parts < 2) return std::nullopt;
  const double variance = std::max(0.0, squares - sum * sum / parts) * (parts - 1) / parts;
  const double half = boost::math::quantile(boost::math::students_t(parts - 1), 0.975) * std::sqrt(variance);
  const double value = scores_of(kParts, first, last).*score;
  return Interval{std::max(0.0, value - half), std::min(1.0, value + half)};
}

std::vector<Score> BoxCounts::listed(std::size_t first, std::size_t last) const {
  const BoxScores scores = scores_of(kParts, first, last);
  std::vector<Score> list;
  for (const BoxScore& score : kBoxScores) {
    list.push_back({.name = score.name, .value = scores.*score.value});
    if (!std::isnan(list.back().value)) list.back().interval = interval(score.value, first, last);
  }
  return list;
}

/// Nothing: its class is not known.
std::optional<std::size_t> Detection::class_of(float number) const {
  if (input_.classes.empty()) return 0;
  if (number < 0) return std::nullopt;
  const auto c = static_cast<std::size_t>(number);
  COHORT_CHECK(c < classes_, "a box of class {} of {}", c, classes_);
  return c;
}

/// `boxes` [n, 5].
Detection::Labelled Detection::labelled_boxes(const at::Tensor& boxes) const {
  const auto box = boxes.accessor<float, 2>();
  Labelled labelled(classes_ + 1);
  for (std::int64_t i = 0; i < box.size(0); ++i)
    labelled[class_of(box[i][4]).value_or(classes_)].push_back({box[i][0], box[i][1], box[i][2], box[i][3]});
  return labelled;
}

/// `boxes` [n, 5], `confidence` [n].
Detection::Told Detection::told_boxes(const at::Tensor& boxes, const at::Tensor& confidence) const {
  const auto box = boxes.accessor<float, 2>();
  const auto sure = confidence.accessor<float, 1>();
  Told told(classes_);
  for (std::int64_t i = 0; i < box.size(0); ++i) {
    const std::optional<std::size_t> c = class_of(box[i][4]);
    COHORT_CHECK(c, "a box is said to be of class {}", box[i][4]);
    told[*c].push_back({{box[i][0], box[i][1], box[i][2], box[i][3]}, sure[i], i});
  }
  return told;
}

void Detection::put(std::span<const std::int32_t> contexts, OrderedRecords::Record record) {
  orders_.front().add(record);
  for (std::size_t key = 0; key < contexts.size(); ++key) {
    record[kGroup] = contexts[key];
    orders_[1 + key].add(record);
  }
}

void Detection::put_image(std::int64_t row, std::span<const std::int32_t> contexts, const Labelled& labelled,
                          Told told) {
  put(contexts, {0, kFirst, row, -1, kImage, 0, 0, 0});
  for (std::size_t c = 0; c < classes_; ++c) {
    const auto of_class = static_cast<std::int64_t>(c);
    if (!labelled[c].empty()) put(contexts, {0, kFirst, row, -1, of_class, 0, 0, std::ssize(labelled[c])});
    for (const MatchedBox& box : match_boxes(std::move(told[c]), labelled[c], labelled.back(),
                                             {overlaps_.all, input_.config.box_rule}))
      put(contexts,
          {0, falling(box.confidence), row, box.place, of_class, static_cast<std::int64_t>(box.matched),
           static_cast<std::int64_t>(box.ignored), box.found});
  }
}

void Detection::add(const AnsweredImages& images) {
  const auto answer = [&](const char* name) {
    const auto found = images.answers.find(name);
    COHORT_CHECK(found != images.answers.end(), "detection without {}", name);
    return found->second.contiguous();
  };
  const at::Tensor boxes = answer("boxes"), confidence = answer("confidence"), ends = answer("boxes_offsets"),
                   target = images.target.values.contiguous(), target_ends = images.target.offsets;
  finite_ = finite_ && boxes.isfinite().all().item<bool>() && confidence.isfinite().all().item<bool>();
  if (!finite_) return;
  const auto* end = ends.const_data_ptr<std::int64_t>();
  const auto* target_end = target_ends.const_data_ptr<std::int64_t>();
  const std::size_t keys = input_.contexts.keys.size();
  for (std::size_t i = 0; i < images.rows.size(); ++i)
    put_image(images.rows[i], images.contexts.subspan(i * keys, keys),
              labelled_boxes(target.slice(0, target_end[i], target_end[i + 1])),
              told_boxes(boxes.slice(0, end[i], end[i + 1]), confidence.slice(0, end[i], end[i + 1])));
}

/// Collective. Every value of a key that has images.
ScoredContexts Detection::contexts_of(std::size_t key, comm::Communicator& ranks) {
  ScoredContexts by{input_.contexts.keys[key].name, {}};
  std::int64_t group = -1;
  std::optional<BoxCounts> counts;
  const auto close = [&] {
    if (counts)
      by.groups.push_back(
          {input_.contexts.values[static_cast<std::size_t>(group)], counts->images(), counts->listed()});
  };
  orders_[1 + key].for_each(ranks, [&](const OrderedRecords::Record& record) {
    if (record[kGroup] != group) {
      close();
      group = record[kGroup];
      counts.emplace(overlaps_, classes_);
    }
    counts->add(record);
  });
  close();
  return by;
}

/// Means over the classes that have boxes.
std::vector<Curve> Detection::curves_of(const BoxCounts& counts) const {
  Curve precision{.kind = "precision_recall", .x = "recall", .y = "precision (IoU 0.5)", .points = {}},
      response{.kind = "froc", .x = "false positives per image", .y = "sensitivity", .points = {}};
  for (std::size_t k = 0; k < AveragePrecision::kRecalls; ++k)
    precision.points.push_back({static_cast<double>(k) / 100, 0});
  for (const double rate : FreeResponse::kRates) response.points.push_back({rate, 0});
  double classes = 0;
  for (std::size_t c = 0; c < classes_; ++c) classes += counts.of(c).positives > 0 ? 1 : 0;
  for (std::size_t c = 0; c < classes_; ++c) {
    const ClassCount& of = counts.of(c);
    if (of.positives == 0) continue;
    const auto precisions = of.precisions[overlaps_.at50].precisions();
    for (std::size_t k = 0; k < precisions.size(); ++k) precision.points[k][1] += precisions.at(k) / classes;
    const auto sensitivities = of.response.sensitivities(of.positives);
    for (std::size_t k = 0; k < sensitivities.size(); ++k)
      response.points[k][1] += sensitivities.at(k) / classes;
  }
  return {precision, response};
}

Scorecard Detection::finish(comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (!finite_) refuse_infinite_answers();
  });
  BoxCounts counts(overlaps_, classes_);
  orders_.front().for_each(ranks, [&](const OrderedRecords::Record& record) { counts.add(record); });
  if (std::isnan(counts.scores().map))
    throw DataError({fmt::format("no image has a box of a known class in the field '{}'", input_.target.name),
                     "the evaluated split", "choose another split (eval.splits) or field"});
  Scorecard card;
  card.samples = counts.images();
  card.all = counts.listed();
  for (std::size_t c = 0; c < input_.classes.size(); ++c)
    card.classes.push_back({input_.classes[c], counts.of(c).positives, counts.listed(c, c + 1)});
  card.curves = curves_of(counts);
  for (std::size_t key = 0; key < input_.contexts.keys.size(); ++key)
    card.contexts.push_back(contexts_of(key, ranks));
  return card;
}

std::vector<ScoreName> score_names_of_detection(const TaskConfig&) {
  std::vector<ScoreName> names;
  for (const BoxScore& score : kBoxScores) names.push_back({score.name});
  return names;
}

std::unique_ptr<Task> make_detection(TaskInput input) {
  return std::make_unique<Detection>(std::move(input));
}

}  // namespace

TaskEntry detection() {
  return {.name = "detection",
          .sentence = "boxes around what is to be found, and their classes",
          .target = data::FieldKind::boxes,
          .answers = "boxes [n, 5] (x0, y0, x1, y1, class), confidence [n], boxes_offsets [B + 1] i64",
          .scores = score_names_of_detection,
          .make = make_detection};
}

}  // namespace cohort::eval
