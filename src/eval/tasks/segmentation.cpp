#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <boost/math/distributions/students_t.hpp>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/eval/task.h"

#include "eval/answers.h"
#include "eval/extreme_rows.h"
#include "eval/pixels.h"
#include "eval/poisson_bootstrap.h"
#include "eval/sum_over_ranks.h"
#include "eval/tasks/pixel_sums.h"

// A class of every pixel of images [H, W] or volumes [D, H, W]. Dice, IoU, precision and recall are of the
// pixels of all images together: the mean over the classes that occur or are answered (precision: that are
// answered, recall: that occur; it is the mean class accuracy). Over all classes together these would all be
// the pixel accuracy. Masks of two classes have one that is looked for, the second: their scores are its own.
// An image's Dice of a class that neither occurs in it nor is answered is 1, as in the challenge SIIM-ACR
// Pneumothorax (2019); "positive" images are those in which the class occurs. Scores without such a pixel are
// NaN, and take no part in means.
namespace cohort::eval {
namespace {

/// A score of a class, whose mean is one of all.
struct ClassScore {
  const char* name;
  double (PixelSums::*of)(std::size_t) const;
};
constexpr ClassScore kClassScores[] = {{"dice", &PixelSums::dice},
                                       {"iou", &PixelSums::iou},
                                       {"precision", &PixelSums::precision},
                                       {"recall", &PixelSums::recall},
                                       {"image_dice", &PixelSums::image_dice},
                                       {"positive_image_dice", &PixelSums::positive_image_dice},
                                       {"boundary_f", &PixelSums::boundary}};
constexpr const char* kPixelAccuracy = "pixel_accuracy";

/// Images of one context. Without images it takes no room but its own.
struct PixelContext {
  std::int64_t images = 0;
  ExactSum dice, squares;            // of the means over classes of the images' Dice
  std::vector<std::int64_t> pixels;  // [classes, kBoth … kLabelled]

  void add(double of_image, std::span<const ClassPixels> counts) {
    ++images;
    dice.add(of_image);
    squares.add(of_image * of_image);
    pixels.resize(counts.size() * 3);
    for (std::size_t c = 0; c < counts.size(); ++c) {
      pixels[c * 3 + kBoth] += counts[c].both;
      pixels[c * 3 + kAnswered] += counts[c].answered;
      pixels[c * 3 + kLabelled] += counts[c].labelled;
    }
  }
};

/// Of a mean, by Student's distribution.
std::optional<Interval> interval_of_mean(double sum, double squares, double count) {
  if (count < 2) return std::nullopt;
  const double mean = sum / count, variance = std::max(0.0, squares - count * mean * mean) / (count - 1);
  const double half =
      boost::math::quantile(boost::math::students_t(count - 1), 0.975) * std::sqrt(variance / count);
  return Interval{std::max(0.0, mean - half), std::min(1.0, mean + half)};
}

class Segmentation final : public Task {
 public:
  explicit Segmentation(TaskInput input)
      : input_(std::move(input)),
        classes_(input_.classes.size()),
        first_(classes_ == 2 ? 1 : 0),
        sums_(classes_ * kTerms + 1),
        bootstrap_(sums_.size()),
        contexts_(input_.contexts.values.size()) {
    COHORT_CHECK(classes_ >= 2, "mask '{}' of {} classes", input_.target.name, classes_);
  }

  void add(const AnsweredImages& images) override;
  Scorecard finish(comm::Communicator& ranks) override;

 private:
  at::Tensor answered_classes(const at::Tensor& logits) const;
  at::Tensor labelled_classes(const AnsweredImages& images) const;
  void keep_if_bad(std::int64_t row, double dice, std::span<const ClassPixels> counts);
  void count_image(std::int64_t row, std::span<const std::int32_t> contexts, const PixelClasses& pixels,
                   std::int64_t width, bool is_volume);
  double put_class(std::size_t c, const ClassPixels& pixels, std::span<double> terms) const;
  static void put_boundaries(std::span<const double> scores, std::span<double> terms);
  void add_contexts(comm::Communicator& ranks, std::size_t begin, std::size_t end);
  std::vector<ScoredContexts> scored_contexts(comm::Communicator& ranks);
  [[nodiscard]] ScoredGroup context_score(const std::string& name, const PixelContext& context) const;
  [[nodiscard]] ScoredGroup class_score(const PixelSums& sums, std::size_t c) const;
  [[nodiscard]] std::vector<Case> cases(comm::Communicator& ranks);
  [[nodiscard]] std::vector<Score> scores_of_all(const PixelSums& sums) const;
  /// `of`: the score of sums.
  template <class Of>
  [[nodiscard]] Score with_interval(const char* name, const PixelSums& sums, const Of& of) const {
    Score score{.name = name, .value = of(sums)};
    if (!std::isnan(score.value))
      score.interval =
          bootstrap_.interval([&](std::span<const double> drawn) { return of(PixelSums(drawn, first_)); });
    return score;
  }

  TaskInput input_;
  std::size_t classes_;
  std::size_t first_;  // class that is scored
  std::vector<ExactSum> sums_;
  PoissonBootstrap bootstrap_;
  std::vector<PixelContext> contexts_;
  ExtremeRows worst_;  // by what their Dice lacks
  bool finite_ = true;
};

/// [B, H, W] i32 of logits [B, K, H, W]. Of equal logits the first one.
at::Tensor Segmentation::answered_classes(const at::Tensor& logits) const {
  const auto columns = static_cast<std::size_t>(logits.size(1));
  COHORT_CHECK(columns == classes_ || (columns == 1 && classes_ == 2), "{} logits a pixel of {} classes",
               columns, classes_);
  if (columns > 1) return logits.argmax(1).to(at::kInt).contiguous();
  return logits.select(1, 0).to(at::kDouble).sigmoid().ge(input_.config.threshold).to(at::kInt).contiguous();
}

/// [B, H, W] i32 of the masks, kUnknownPixel where none is known.
at::Tensor Segmentation::labelled_classes(const AnsweredImages& images) const {
  constexpr std::int32_t kUnknownByte = 255;
  const at::Tensor& masks = images.target.values;
  const at::Tensor classes = masks.to(at::kInt, /*non_blocking=*/false, /*copy=*/true).contiguous();
  if (masks.scalar_type() == at::kByte) classes.masked_fill_(classes.eq(kUnknownByte), kUnknownPixel);
  const auto rows = static_cast<std::int64_t>(images.rows.size());
  const at::Tensor largest = classes.reshape({rows, -1}).amax(1), least = classes.reshape({rows, -1}).amin(1);
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto high = largest[i].item<std::int64_t>(), low = least[i].item<std::int64_t>();
    if (high < static_cast<std::int64_t>(classes_) && low >= kUnknownPixel) continue;
    throw DataError(
        {fmt::format("a mask has the class {}, but its field names {} classes",
                     low < kUnknownPixel ? low : high, classes_),
         fmt::format("field '{}' of row {}", input_.target.name, images.rows[static_cast<std::size_t>(i)]),
         "make the dataset with a name for every class, or with 255 (u8) or -1 (i32) where "
         "none is known"});
  }
  return classes;
}

void Segmentation::add(const AnsweredImages& images) {
  const auto found = images.answers.find("logits");
  COHORT_CHECK(found != images.answers.end(), "segmentation without logits");
  const at::Tensor& logits = found->second;
  finite_ = finite_ && logits.isfinite().all().item<bool>();
  if (!finite_ || images.rows.empty()) return;
  const at::Tensor answered = answered_classes(logits), labelled = labelled_classes(images);
  COHORT_CHECK(answered.sizes() == labelled.sizes(), "masks and answers differ in size");
  const auto pixels = static_cast<std::size_t>(labelled[0].numel()), keys = input_.contexts.keys.size();
  const std::span all_labelled(labelled.const_data_ptr<std::int32_t>(), images.rows.size() * pixels),
      all_answered(answered.const_data_ptr<std::int32_t>(), images.rows.size() * pixels);
  for (std::size_t i = 0; i < images.rows.size(); ++i)
    count_image(images.rows[i], images.contexts.subspan(i * keys, keys),
                {all_labelled.subspan(i * pixels, pixels), all_answered.subspan(i * pixels, pixels)},
                labelled.size(-1), labelled.dim() > 3);
}

/// An image's Dice of a class; 1 where it neither occurs nor is answered.
double image_dice_of(const ClassPixels& pixels) {
  return pixels.answered + pixels.labelled == 0 ? 1.0 : pixels.dice();
}

/// Returns the image's Dice.
double Segmentation::put_class(std::size_t c, const ClassPixels& pixels, std::span<double> terms) const {
  const double dice = image_dice_of(pixels);
  terms[kBoth] = static_cast<double>(pixels.both);
  terms[kAnswered] = static_cast<double>(pixels.answered);
  terms[kLabelled] = static_cast<double>(pixels.labelled);
  terms[kImageDice] = dice;
  terms[kPositiveDice] = pixels.labelled > 0 ? dice : 0;
  terms[kPositive] = pixels.labelled > 0 ? 1 : 0;
  return c < first_ ? 0 : dice / static_cast<double>(classes_ - first_);
}

void Segmentation::put_boundaries(std::span<const double> scores, std::span<double> terms) {
  for (std::size_t c = 0; c < scores.size(); ++c) {
    if (std::isnan(scores[c])) continue;
    terms[c * kTerms + kBoundary] = scores[c];
    terms[c * kTerms + kBoundaries] = 1;
  }
}

/// `dice`: of the image. An image without errors is no case.
void Segmentation::keep_if_bad(std::int64_t row, double dice, std::span<const ClassPixels> counts) {
  const auto scored = counts.subspan(first_);
  const auto worst = std::min_element(
      scored.begin(), scored.end(),
      [](const ClassPixels& a, const ClassPixels& b) { return image_dice_of(a) < image_dice_of(b); });
  if (image_dice_of(*worst) < 1) worst_.add({-dice, row, worst - counts.begin()});
}

void Segmentation::count_image(std::int64_t row, std::span<const std::int32_t> contexts,
                               const PixelClasses& pixels, std::int64_t width, bool is_volume) {
  const auto classes = static_cast<std::int64_t>(classes_);
  const std::vector<ClassPixels> counts = count_pixels(pixels, classes);
  if (std::none_of(counts.begin(), counts.end(), [](const ClassPixels& one) { return one.labelled > 0; }))
    return;
  std::vector<double> terms(sums_.size());
  double dice = 0;
  for (std::size_t c = 0; c < classes_; ++c)
    dice += put_class(c, counts[c], std::span(terms).subspan(c * kTerms, kTerms));
  if (!is_volume) put_boundaries(boundary_f(pixels, width, classes, input_.config.boundary_tolerance), terms);
  terms.back() = 1;
  for (std::size_t i = 0; i < terms.size(); ++i) sums_[i].add(terms[i]);
  bootstrap_.add(row, terms);
  keep_if_bad(row, dice, counts);
  for (const std::int32_t value : contexts) contexts_.at(static_cast<std::size_t>(value)).add(dice, counts);
}

/// Collective. Those of contexts `begin` … `end` become those of all ranks.
void Segmentation::add_contexts(comm::Communicator& ranks, std::size_t begin, std::size_t end) {
  const std::span block = std::span(contexts_).subspan(begin, end - begin);
  std::vector<ExactSum> sums;
  std::vector<std::int64_t> counts;
  for (PixelContext& context : block) {
    context.pixels.resize(classes_ * 3);
    sums.insert(sums.end(), {context.dice, context.squares});
    counts.push_back(context.images);
    counts.insert(counts.end(), context.pixels.begin(), context.pixels.end());
  }
  const at::Tensor all = at::tensor(counts, at::kLong);
  ranks.all_reduce(all).wait();
  sum_over_ranks(sums, ranks);
  const auto* next = all.const_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < block.size(); ++i) {
    block[i].dice = sums[2 * i];
    block[i].squares = sums[2 * i + 1];
    block[i].images = *next++;
    for (std::int64_t& count : block[i].pixels) count = *next++;
  }
}

ScoredGroup Segmentation::context_score(const std::string& name, const PixelContext& context) const {
  std::vector<double> sums(sums_.size());
  for (std::size_t c = 0; c < classes_; ++c) {
    for (const Term term : {kBoth, kAnswered, kLabelled})
      sums[c * kTerms + term] = static_cast<double>(context.pixels[c * 3 + term]);
  }
  const PixelSums pixels(sums, first_);
  const auto images = static_cast<double>(context.images);
  return {name,
          context.images,
          {{.name = "dice", .value = pixels.mean(&PixelSums::dice)},
           {.name = "iou", .value = pixels.mean(&PixelSums::iou)},
           {.name = kPixelAccuracy, .value = pixels.pixel_accuracy()},
           {.name = "image_dice",
            .value = context.dice.value() / images,
            .interval = interval_of_mean(context.dice.value(), context.squares.value(), images)}}};
}

ScoredGroup Segmentation::class_score(const PixelSums& sums, std::size_t c) const {
  ScoredGroup group{input_.classes[c], static_cast<std::int64_t>(sums.of(c, kPositive)), {}};
  for (const ClassScore& score : kClassScores)
    group.scores.push_back({.name = score.name, .value = (sums.*score.of)(c)});
  group.scores.front() =
      with_interval(kClassScores[0].name, sums, [c](const PixelSums& drawn) { return drawn.dice(c); });
  return group;
}

std::vector<Score> Segmentation::scores_of_all(const PixelSums& sums) const {
  std::vector<Score> scores;
  for (const ClassScore& score : kClassScores)
    scores.push_back(
        with_interval(score.name, sums, [&](const PixelSums& drawn) { return drawn.mean(score.of); }));
  scores.push_back(
      with_interval(kPixelAccuracy, sums, [](const PixelSums& drawn) { return drawn.pixel_accuracy(); }));
  return scores;
}

/// Collective.
std::vector<ScoredContexts> Segmentation::scored_contexts(comm::Communicator& ranks) {
  constexpr std::size_t kTogether = 1024;
  for (std::size_t begin = 0; begin < contexts_.size(); begin += kTogether)
    add_contexts(ranks, begin, std::min(contexts_.size(), begin + kTogether));
  std::vector<ScoredContexts> scored;
  for (const ContextNames::Key& key : input_.contexts.keys) {
    ScoredContexts by{key.name, {}};
    for (std::size_t i = key.first; i < key.first + key.count; ++i) {
      if (contexts_[i].images > 0)
        by.groups.push_back(context_score(input_.contexts.values[i], contexts_[i]));
    }
    scored.push_back(std::move(by));
  }
  return scored;
}

/// Collective.
std::vector<Case> Segmentation::cases(comm::Communicator& ranks) {
  std::vector<Case> cases;
  for (const ExtremeRows::Entry& entry : worst_.finish(ranks)) {
    std::string what = fmt::format("Dice {:.3f}", -entry.score);
    if (classes_ > 2) what += ", least of " + input_.classes[static_cast<std::size_t>(entry.label)];
    cases.push_back({entry.row, -entry.score, std::move(what)});
  }
  return cases;
}

Scorecard Segmentation::finish(comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (!finite_) refuse_infinite_answers();
  });
  sum_over_ranks(sums_, ranks);
  bootstrap_.add_up(ranks);
  std::vector<double> values;
  for (const ExactSum& sum : sums_) values.push_back(sum.value());
  const PixelSums sums(values, first_);
  if (sums.images() == 0)
    throw DataError(
        {fmt::format("no image has a pixel whose class is known in the field '{}'", input_.target.name),
         "the evaluated split", "choose another split (eval.splits) or field"});
  Scorecard card;
  card.samples = std::llround(sums.images());
  card.all = scores_of_all(sums);
  for (std::size_t c = 0; c < classes_; ++c) card.classes.push_back(class_score(sums, c));
  card.contexts = scored_contexts(ranks);
  card.cases = cases(ranks);
  return card;
}

std::vector<ScoreName> score_names_of_segmentation(const TaskConfig&) {
  std::vector<ScoreName> names;
  for (const ClassScore& score : kClassScores) names.push_back({score.name});
  names.push_back({kPixelAccuracy});
  return names;
}

std::unique_ptr<Task> make_segmentation(TaskInput input) {
  return std::make_unique<Segmentation>(std::move(input));
}

}  // namespace

TaskEntry segmentation() {
  return {.name = "segmentation",
          .sentence = "a class for every pixel of an image or volume",
          .target = data::FieldKind::mask,
          .answers = "logits [B, K, H, W] of the mask's size; K classes, or 1 for the second of two",
          .scores = score_names_of_segmentation,
          .make = make_segmentation};
}

}  // namespace cohort::eval
