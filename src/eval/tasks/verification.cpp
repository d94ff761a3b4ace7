// Images that are to be accepted or refused, as a face that is shown is a living one: scores 0 … 1, of which
// those of the threshold and more are accepted. Half total error rate at eval.task.threshold; equal error
// rate by thresholds 0, 0.0001, …, 1 (the rate is one that the split itself has chosen); area under the ROC
// curve, ties count one half; true positive rate at false positive rates. Images are judged one by one, or
// the means of those of one context (eval.task.mean_by), as frames of a video. A rank holds 1.5 MiB, 32
// bytes a context, with eval.task.mean_by 100 more a context, and files in TMPDIR.
#include <algorithm>
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
#include "cohort/core/text.h"
#include "cohort/eval/task.h"

#include "eval/answers.h"
#include "eval/exact_sum.h"
#include "eval/ranking_curves.h"
#include "eval/spilled_rankings.h"
#include "eval/sum_over_ranks.h"
#include "eval/tasks/scored_contexts.h"
#include "eval/verification_scores.h"

namespace cohort::eval {
namespace {

constexpr std::uint8_t kFlagNotKnown = 255;

std::string rate_name(double rate) {
  return fmt::format("tpr_at_fpr_{:g}", rate);
}

std::vector<ScoreName> verification_names(const TaskConfig& config) {
  std::vector<ScoreName> names{{"hter", false}, {"eer", false}, {"auc", true}};
  for (const double rate : config.false_positive_rates) names.push_back({rate_name(rate), true});
  names.push_back({"false_accept_rate", false});
  names.push_back({"false_reject_rate", false});
  return names;
}

/// Images that are judged together, and what they have in common.
struct JudgedTogether {
  explicit JudgedTogether(ContextNames::Key which, std::size_t keys)
      : key(std::move(which)), scores(key.count), counts(2 * key.count), contexts(key.count * keys, -1) {}

  ContextNames::Key key;
  std::vector<ExactSum> scores;
  std::vector<std::int64_t> counts;    // images of each, then the genuine ones
  std::vector<std::int32_t> contexts;  // [count, keys]
};

class Verification final : public Task {
 public:
  explicit Verification(TaskInput input);

  void add(const AnsweredImages& images) override;
  Scorecard finish(comm::Communicator& ranks) override;

 private:
  void put(double score, bool is_genuine, std::span<const std::int32_t> contexts);
  void judge(double score, bool is_genuine, std::span<const std::int32_t> contexts);
  void judge_together(comm::Communicator& ranks);
  void refuse_differing(std::size_t group) const;
  void add_up(comm::Communicator& ranks);
  [[nodiscard]] ScoredGroup scored(const VerificationCounts& counts) const;
  [[nodiscard]] bool is_together(std::size_t context) const;

  TaskInput input_;
  std::optional<JudgedTogether> together_;
  std::vector<VerificationCounts> counts_;  // of all images, then of each context
  ThresholdGrid grid_;
  SpilledScores scores_;
  SpilledRankings rankings_{1};
  bool finite_ = true, are_parts_ = true;
};

std::optional<JudgedTogether> judged_together(const TaskInput& input) {
  const std::string& name = input.config.mean_by;
  if (name.empty()) return std::nullopt;
  const std::vector<ContextNames::Key>& keys = input.contexts.keys;
  const auto found =
      std::find_if(keys.begin(), keys.end(), [&](const auto& key) { return key.name == name; });
  if (found != keys.end()) return JudgedTogether(*found, keys.size());
  std::vector<std::string> names;
  for (const ContextNames::Key& key : keys) names.push_back(key.name);
  throw UsageError({fmt::format("there is no context key '{}' to judge images by", name), "eval.task.mean_by",
                    did_you_mean(name, names)});
}

Verification::Verification(TaskInput input)
    : input_(std::move(input)),
      together_(judged_together(input_)),
      counts_(1 + input_.contexts.values.size()) {
  const std::int64_t flags = input_.target.shape.front();
  if (flags != 1)
    throw UsageError(
        {fmt::format("verification is of one flag, and field '{}' has {}", input_.target.name, flags),
         "the field that the method answers", "choose a field with one flag: 1 is to be accepted"});
}

void Verification::add(const AnsweredImages& images) {
  const auto count = static_cast<std::int64_t>(images.rows.size());
  const at::Tensor scores = images.answers.at("score").to(at::kDouble).contiguous(),
                   flags = images.target.values.to(at::kByte).contiguous();
  COHORT_CHECK(scores.numel() == count && flags.numel() == count, "{} scores of {} images", scores.numel(),
               count);
  finite_ = finite_ && scores.isfinite().all().item<bool>();
  are_parts_ = are_parts_ && finite_ && (scores.ge(0) & scores.le(1)).all().item<bool>();
  if (!are_parts_) return;
  const auto* score = scores.const_data_ptr<double>();
  const auto* flag = flags.const_data_ptr<std::uint8_t>();
  for (std::size_t i = 0; i < images.rows.size(); ++i) {
    if (flag[i] != kFlagNotKnown) put(score[i], flag[i] == 1, contexts_of(images, input_.contexts, i));
  }
}

void Verification::put(double score, bool is_genuine, std::span<const std::int32_t> contexts) {
  if (!together_) return judge(score, is_genuine, contexts);
  const auto keys = input_.contexts.keys.size();
  const auto is_of_key = [&](std::int32_t context) {
    return static_cast<std::size_t>(context) - together_->key.first < together_->key.count;
  };
  const auto found = std::find_if(contexts.begin(), contexts.end(), is_of_key);
  const std::size_t group = static_cast<std::size_t>(*found) - together_->key.first;
  together_->scores[group].add(score);
  ++together_->counts[group];
  if (is_genuine) ++together_->counts[together_->key.count + group];
  for (std::size_t k = 0; k < keys; ++k) {
    std::int32_t& context = together_->contexts[group * keys + k];
    context = std::max(context, contexts[k]);
  }
}

void Verification::judge(double score, bool is_genuine, std::span<const std::int32_t> contexts) {
  const bool accepted = score >= input_.config.threshold;
  counts_.front().add(is_genuine, accepted);
  for (const std::int32_t context : contexts)
    counts_[1 + static_cast<std::size_t>(context)].add(is_genuine, accepted);
  grid_.add(score, is_genuine);
  scores_.add(score, is_genuine);
  const std::int32_t label = is_genuine ? 1 : 0;
  rankings_.add(at::full({1, 1}, score, at::kDouble), std::span(&label, 1));
}

void Verification::refuse_differing(std::size_t group) const {
  throw DataError({fmt::format("images of {} '{}' differ in '{}'", together_->key.name,
                               input_.contexts.values[together_->key.first + group], input_.target.name),
                   "the evaluated split", "choose another key (eval.task.mean_by), or correct the flags"});
}

/// Each group on one rank.
void Verification::judge_together(comm::Communicator& ranks) {
  JudgedTogether& all = *together_;
  sum_over_ranks(all.scores, ranks);
  ranks.all_reduce(at::from_blob(all.counts.data(), {std::ssize(all.counts)}, at::kLong)).wait();
  ranks
      .all_reduce(at::from_blob(all.contexts.data(), {std::ssize(all.contexts)}, at::kInt), comm::Reduce::max)
      .wait();
  comm::together(ranks, [&] {
    const std::size_t keys = input_.contexts.keys.size();
    for (std::size_t group = 0; group < all.key.count; ++group) {
      const std::int64_t images = all.counts[group], genuine = all.counts[all.key.count + group];
      if (images == 0) continue;
      if (genuine != 0 && genuine != images) refuse_differing(group);
      if (group % static_cast<std::size_t>(ranks.size()) != static_cast<std::size_t>(ranks.rank())) continue;
      judge(all.scores[group].value() / static_cast<double>(images), genuine != 0,
            std::span(all.contexts).subspan(group * keys, keys));
    }
  });
}

void Verification::add_up(comm::Communicator& ranks) {
  std::vector<std::int64_t> numbers;
  for (const VerificationCounts& counts : counts_)
    numbers.insert(numbers.end(),
                   {counts.genuine, counts.others, counts.rejected_genuine, counts.accepted_others});
  ranks.all_reduce(at::from_blob(numbers.data(), {std::ssize(numbers)}, at::kLong)).wait();
  for (std::size_t i = 0; i < counts_.size(); ++i)
    counts_[i] = {numbers[4 * i], numbers[4 * i + 1], numbers[4 * i + 2], numbers[4 * i + 3]};
  grid_.add_up(ranks);
}

ScoredGroup Verification::scored(const VerificationCounts& counts) const {
  return {"",
          counts.genuine + counts.others,
          {counts.half_total_error_score(),
           {"false_accept_rate", counts.false_accept_rate(), {}, false},
           {"false_reject_rate", counts.false_reject_rate(), {}, false}}};
}

bool Verification::is_together(std::size_t context) const {
  return together_ && context - together_->key.first < together_->key.count;
}

Scorecard Verification::finish(comm::Communicator& ranks) {
  const bool are_parts = ranks.sum(std::int64_t{are_parts_ || !finite_ ? 0 : 1}) == 0;
  refuse_unscored(finite_, 1, input_.target.name, ranks);
  if (!are_parts)
    throw DataError({"scores of verification lie outside of 0 … 1", "the evaluated split",
                     "answer probabilities; of a cosine c, (1 + c) / 2"});
  if (together_) judge_together(ranks);
  add_up(ranks);
  const VerificationCounts& counts = counts_.front();
  refuse_unscored(true, counts.genuine + counts.others, input_.target.name, ranks);
  if (counts.genuine == 0 || counts.others == 0)
    throw DataError({fmt::format("all known values of '{}' are {}, and verification compares both",
                                 input_.target.name, counts.genuine == 0 ? 0 : 1),
                     "the evaluated split", "choose another split (eval.splits)"});
  const std::optional<Area> area = rankings_.area(0, 1, counts.genuine, counts.others, ranks);
  const double equal = grid_.equal_error().counts.half_total_error();
  Scorecard card;
  card.samples = counts.genuine + counts.others;
  card.all = {
      counts.half_total_error_score(), {"eer", equal, {}, false}, {"auc", area->area, area->interval}};
  for (const double rate : input_.config.false_positive_rates)
    card.all.push_back(
        {rate_name(rate), scores_.true_positive_rate(rate, counts.genuine, counts.others, ranks)});
  card.all.push_back({"false_accept_rate", counts.false_accept_rate(), {}, false});
  card.all.push_back({"false_reject_rate", counts.false_reject_rate(), {}, false});
  card.contexts = scored_contexts(input_.contexts, [&](std::size_t i) {
    return is_together(i) ? ScoredGroup{} : scored(counts_[1 + i]);
  });
  add_ranking_curves(*area, "", card.curves);
  for (Curve& curve : grid_.curves()) card.curves.push_back(std::move(curve));
  return card;
}

}  // namespace

TaskEntry verification() {
  return {"verification",
          "whether an image is to be accepted",
          data::FieldKind::flags,
          "score [B], 0 … 1",
          verification_names,
          [](TaskInput input) -> std::unique_ptr<Task> {
            return std::make_unique<Verification>(std::move(input));
          }};
}

}  // namespace cohort::eval
