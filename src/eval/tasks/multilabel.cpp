// Flags that do not exclude each other: areas under ROC curves and average precision of each and as means
// over those that some images have and some have not, as scikit-learn's roc_auc_score and
// average_precision_score have them; F1, sensitivity, specificity and accuracy of answers from
// eval.task.threshold on, as means over flags that have them. Flags that are not known are left out. A rank
// holds 32 bytes for each flag of each context, 192 kB of each of up to 64 flags, and of up to kResampled
// answers 12 bytes.
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/eval/task.h"

#include "eval/answers.h"
#include "eval/class_scores.h"
#include "eval/exact_sum.h"
#include "eval/extreme_rows.h"
#include "eval/flag_counts.h"
#include "eval/poisson_bootstrap.h"
#include "eval/ranking_curves.h"
#include "eval/spilled_rankings.h"
#include "eval/sum_over_ranks.h"
#include "eval/tasks/resampled_flags.h"
#include "eval/tasks/score_values.h"
#include "eval/tasks/scored_contexts.h"

namespace cohort::eval {
namespace {

constexpr std::uint8_t kUnknownFlag = 255;

/// F1, accuracy, sensitivity, specificity.
using FlagScores = ScoreValues<4>;

FlagScores flag_scores(const FlagCounts& counts) {
  return {counts.f1(), counts.accuracy(), counts.sensitivity(), counts.specificity()};
}

/// Of a group of `flags` flags.
template <class Number>
FlagScores mean_flag_scores(std::span<const Number> counts, std::size_t flags) {
  std::vector<FlagScores> all;
  for (std::size_t i = 0; i < flags; ++i)
    all.push_back(flag_scores(FlagCounts::of(counts.subspan(i * FlagCounts::kCounts, FlagCounts::kCounts))));
  return mean_over(all);
}

std::vector<Score> named_flag_scores(const FlagScores& scores) {
  return {{"f1_macro", scores[0]},
          {"accuracy", scores[1]},
          {"sensitivity", scores[2]},
          {"specificity", scores[3]}};
}

std::vector<ScoreName> multilabel_names(const TaskConfig& /*config*/) {
  return {{"f1_macro"}, {"accuracy"},          {"sensitivity"}, {"specificity"},
          {"auroc"},    {"average_precision"}, {"loss", false}};
}

/// Cross-entropy of a logit with what is true.
double flag_loss(double logit, bool is_set) {
  const double of_truth = is_set ? logit : -logit;
  return std::max(-of_truth, 0.0) + std::log1p(std::exp(-std::abs(logit)));
}

class Multilabel final : public Task {
 public:
  explicit Multilabel(TaskInput input)
      : input_(std::move(input)),
        flags_(static_cast<std::size_t>(input_.target.shape.front())),
        counts_((1 + input_.contexts.values.size()) * flags_ * FlagCounts::kCounts),
        images_(1 + input_.contexts.values.size()),
        right_(2 * images_.size()),
        rankings_(static_cast<std::int64_t>(flags_), SpilledRankings::LabelsOf::column),
        bootstrap_(flags_ <= kMostResampled ? flags_ * FlagCounts::kCounts : 0) {
    if (input_.images * static_cast<std::int64_t>(flags_) <= kResampled)
      resampled_.emplace(static_cast<std::int64_t>(flags_));
  }

  void add(const AnsweredImages& images) override;
  Scorecard finish(comm::Communicator& ranks) override;

 private:
  static constexpr std::size_t kMostResampled = 64;                  // flags
  static constexpr std::int64_t kResampled = std::int64_t{1} << 20;  // answers

  void add_image(std::int64_t row, std::span<const double> logits, std::span<const std::uint8_t> flags,
                 std::span<const std::int32_t> contexts);
  void count(std::size_t group, std::span<const std::uint8_t> flags, std::span<const bool> said);
  void add_answers(std::int64_t row, std::span<const double> logits, std::span<const std::uint8_t> flags,
                   std::span<bool> said);
  void add_up(comm::Communicator& ranks);
  [[nodiscard]] std::span<const std::int64_t> counts_of(std::size_t group) const {
    const std::size_t each = flags_ * FlagCounts::kCounts;
    return std::span(counts_).subspan(group * each, each);
  }
  [[nodiscard]] FlagCounts counts_of_flag(std::size_t flag) const {
    return FlagCounts::of(counts_of(0).subspan(flag * FlagCounts::kCounts, FlagCounts::kCounts));
  }
  [[nodiscard]] ScoredGroup scored_context(std::size_t context) const;
  void add_flags(Scorecard& card, comm::Communicator& ranks);
  void add_intervals(Scorecard& card) const;
  [[nodiscard]] std::vector<Case> cases(comm::Communicator& ranks);

  TaskInput input_;
  std::size_t flags_;
  std::vector<std::int64_t> counts_;  // [1 + contexts, flags, FlagCounts], of all images first
  std::vector<std::int64_t> images_;  // [1 + contexts], with a flag that is known
  std::vector<ExactSum> right_;       // [1 + contexts, 2], shares of an image's flags, and their squares
  ExactSum loss_;
  SpilledRankings rankings_;
  PoissonBootstrap bootstrap_;
  std::optional<ResampledFlags> resampled_;
  ExtremeRows errors_;
  bool finite_ = true;
};

void Multilabel::count(std::size_t group, std::span<const std::uint8_t> flags, std::span<const bool> said) {
  std::int64_t known = 0, right = 0;
  for (std::size_t i = 0; i < flags_; ++i) {
    if (flags[i] == kUnknownFlag) continue;
    ++counts_[(group * flags_ + i) * FlagCounts::kCounts + FlagCounts::place(flags[i] != 0, said[i])];
    ++known;
    right += (flags[i] != 0) == said[i] ? 1 : 0;
  }
  const double share = static_cast<double>(right) / static_cast<double>(known);
  ++images_[group];
  right_[2 * group].add(share);
  right_[2 * group + 1].add(share * share);
}

/// Terms of counts and losses. Of an image the answer that is most surely wrong may be a case.
void Multilabel::add_answers(std::int64_t row, std::span<const double> logits,
                             std::span<const std::uint8_t> flags, std::span<bool> said) {
  std::vector<double> terms(flags_ * FlagCounts::kCounts);
  std::optional<ExtremeRows::Entry> error;
  for (std::size_t i = 0; i < flags_; ++i) {
    const double probability = 1 / (1 + std::exp(-logits[i]));
    said[i] = probability >= input_.config.threshold;
    if (flags[i] == kUnknownFlag) continue;
    const bool is_set = flags[i] != 0;
    terms[i * FlagCounts::kCounts + FlagCounts::place(is_set, said[i])] = 1;
    loss_.add(flag_loss(logits[i], is_set));
    const double confidence = said[i] ? probability : 1 - probability;
    if (said[i] != is_set && (!error || confidence > error->score))
      error = {confidence, row, static_cast<std::int64_t>(i), said[i] ? 1 : 0};
  }
  if (error) errors_.add(*error);
  if (flags_ <= kMostResampled) bootstrap_.add(row, terms);
}

void Multilabel::add_image(std::int64_t row, std::span<const double> logits,
                           std::span<const std::uint8_t> flags, std::span<const std::int32_t> contexts) {
  if (std::all_of(flags.begin(), flags.end(), [](std::uint8_t flag) { return flag == kUnknownFlag; })) return;
  const auto said = std::make_unique<bool[]>(flags_);  // std::vector<bool> has no span
  add_answers(row, logits, flags, {said.get(), flags_});
  count(0, flags, {said.get(), flags_});
  for (const std::int32_t context : contexts)
    count(1 + static_cast<std::size_t>(context), flags, {said.get(), flags_});
}

void Multilabel::add(const AnsweredImages& images) {
  const auto count = static_cast<std::int64_t>(images.rows.size()), width = static_cast<std::int64_t>(flags_);
  const at::Tensor logits = images.answers.at("logits").to(at::kDouble).contiguous(),
                   flags = images.target.values.to(at::kByte).contiguous();
  COHORT_CHECK(logits.sizes() == at::IntArrayRef({count, width}) && flags.sizes() == logits.sizes(),
               "{} answers of {} images with {} flags", logits.numel(), count, width);
  finite_ = finite_ && logits.isfinite().all().item<bool>();
  if (!finite_) return;
  const auto* logit = logits.const_data_ptr<double>();
  const auto* flag = flags.const_data_ptr<std::uint8_t>();
  for (std::size_t i = 0; i < images.rows.size(); ++i)
    add_image(images.rows[i], {logit + i * flags_, flags_}, {flag + i * flags_, flags_},
              contexts_of(images, input_.contexts, i));
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < flags.numel(); ++i) labels.push_back(flag[i] == kUnknownFlag ? -1 : flag[i]);
  rankings_.add(logits, labels);
  if (resampled_) resampled_->add(images.rows, logits, labels);
}

/// Collective.
void Multilabel::add_up(comm::Communicator& ranks) {
  std::vector<std::int64_t> all = counts_;
  all.insert(all.end(), images_.begin(), images_.end());
  const at::Tensor sums = at::tensor(all, at::kLong);
  ranks.all_reduce(sums).wait();
  const auto* first = sums.const_data_ptr<std::int64_t>();
  std::copy_n(first, counts_.size(), counts_.begin());
  std::copy_n(first + counts_.size(), images_.size(), images_.begin());
  sum_over_ranks(right_, ranks);
  sum_over_ranks({&loss_, 1}, ranks);
  bootstrap_.add_up(ranks);
}

/// The interval of the accuracy is that of a mean over images.
ScoredGroup Multilabel::scored_context(std::size_t context) const {
  const std::size_t group = 1 + context;
  const std::int64_t images = images_[group];
  if (images == 0) return {};
  ScoredGroup scored{"", images, named_flag_scores(mean_flag_scores(counts_of(group), flags_))};
  if (images == 1) return scored;
  Score& accuracy = scored.scores[1];
  const double sum = right_[2 * group].value(), squares = right_[2 * group + 1].value();
  const double half = half_interval_of_mean(images, squares - sum * sum / static_cast<double>(images));
  accuracy.interval = Interval{std::max(0.0, accuracy.value - half), std::min(1.0, accuracy.value + half)};
  return scored;
}

/// Collective.
void Multilabel::add_flags(Scorecard& card, comm::Communicator& ranks) {
  std::vector<ScoreValues<2>> of_rankings;
  std::vector<std::int64_t> positives;
  for (std::size_t i = 0; i < flags_; ++i)
    positives.push_back(static_cast<std::int64_t>(counts_of_flag(i).positives()));
  const std::vector<std::size_t> drawn = drawn_classes(positives);
  for (std::size_t i = 0; i < flags_; ++i) {
    const auto negatives = static_cast<std::int64_t>(counts_of_flag(i).negatives());
    const std::optional<Area> area =
        rankings_.area(static_cast<std::int64_t>(i), 1, positives[i], negatives, ranks);
    card.classes.push_back(
        {name_or_number(input_.classes, i), positives[i], class_scores(counts_of_flag(i), area)});
    if (!area) continue;
    of_rankings.push_back({area->area, area->average_precision});
    if (std::binary_search(drawn.begin(), drawn.end(), i))
      add_ranking_curves(*area, card.classes.back().name, card.curves);
  }
  const ScoreValues<2> means = mean_over(of_rankings);
  card.all.push_back({"auroc", means[0]});
  card.all.push_back({"average_precision", means[1]});
}

void Multilabel::add_intervals(Scorecard& card) const {
  if (flags_ > kMostResampled) return;
  std::vector<FlagScores> means;
  for (std::size_t sample = 0; sample < PoissonBootstrap::kSamples; ++sample) {
    std::vector<double> counts;
    for (const ExactSum& sum : bootstrap_.sums_of(sample)) counts.push_back(sum.value());
    means.push_back(mean_flag_scores(std::span<const double>(counts), flags_));
  }
  put_intervals(means, card.all);
}

/// Collective.
std::vector<Case> Multilabel::cases(comm::Communicator& ranks) {
  std::vector<Case> cases;
  for (const ExtremeRows::Entry& error : errors_.finish(ranks)) {
    const bool is_said = error.answer != 0;
    cases.push_back({error.row, error.score,
                     fmt::format("{} {}, said to be {} ({:.3f})", is_said ? "not" : "is",
                                 name_or_number(input_.classes, static_cast<std::size_t>(error.label)),
                                 is_said ? "so" : "not", error.score)});
  }
  return cases;
}

Scorecard Multilabel::finish(comm::Communicator& ranks) {
  add_up(ranks);
  refuse_unscored(finite_, images_.front(), input_.target.name, ranks);
  Scorecard card;
  card.samples = images_.front();
  card.all = named_flag_scores(mean_flag_scores(counts_of(0), flags_));
  add_intervals(card);
  add_flags(card, ranks);
  if (resampled_) resampled_->put_intervals(card, ranks);
  double known = 0;
  for (std::size_t i = 0; i < flags_; ++i) known += counts_of_flag(i).known();
  card.all.push_back({"loss", loss_.value() / known, {}, false});
  card.contexts = scored_contexts(input_.contexts, [&](std::size_t i) { return scored_context(i); });
  card.cases = cases(ranks);
  return card;
}

}  // namespace

TaskEntry multilabel() {
  return {"multilabel",
          "flags that do not exclude each other",
          data::FieldKind::flags,
          "logits [B, L]",
          multilabel_names,
          [](TaskInput input) -> std::unique_ptr<Task> {
            return std::make_unique<Multilabel>(std::move(input));
          }};
}

}  // namespace cohort::eval
