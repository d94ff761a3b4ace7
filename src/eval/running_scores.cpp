#include "eval/running_scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include <ATen/ATen.h>
#include <boost/math/distributions/binomial.hpp>

#include "cohort/core/error.h"

#include "eval/confusion.h"
#include "eval/ranking.h"
#include "eval/ranking_curves.h"

namespace cohort::eval {
namespace {

/// What the percentiles of resampled accuracies approach.
Interval binomial_95(std::int64_t correct, std::int64_t images) {
  if (correct == images) return {1, 1};  // of which Boost says 0 … 1
  const auto count = static_cast<double>(images);
  const boost::math::binomial drawn(count, static_cast<double>(correct) / count);
  return {boost::math::quantile(drawn, 0.025) / count, boost::math::quantile(drawn, 0.975) / count};
}

at::Tensor tensor_of(const std::vector<std::int64_t>& values) {
  return at::tensor(values, at::kLong);
}

}  // namespace

RunningScores::RunningScores(std::int64_t classes, std::size_t contexts, std::int64_t images,
                             double threshold)
    : classes_(classes),
      threshold_(threshold),
      resampled_(images <= kResampled),
      confusion_(static_cast<std::size_t>(classes * classes)),
      contexts_(contexts),
      rankings_(classes == 2 ? 1 : classes) {}

void RunningScores::count(const Answer& answer, std::int64_t row, std::span<const std::int32_t> contexts) {
  const bool right = answer.predicted == answer.label;
  const auto add_to = [&](Tally& tally) {
    ++tally.images;
    tally.correct += right ? 1 : 0;
    tally.confidence.add(answer.confidence);
  };
  ++confusion_[static_cast<std::size_t>(answer.label * classes_ + answer.predicted)];
  loss_.add(answer.loss);
  add_to(bins_.at(confidence_bin(answer.confidence, kBins)));
  for (const std::int32_t context : contexts) add_to(contexts_.at(static_cast<std::size_t>(context)));
  if (!right) errors_.add({answer.confidence, row, answer.label, answer.predicted});
  if (classes_ == 2) {
    const bool said = 1 / (1 + std::exp(-answer.margin)) >= threshold_;
    ++at_threshold_.at(static_cast<std::size_t>(2 * answer.label + (said ? 1 : 0)));
  }
  if (!resampled_) return;
  rows_.push_back(row);
  right_.push_back(right ? 1 : 0);
  if (classes_ != 2) return;
  labels_.push_back(answer.label);
  margins_.push_back(answer.margin);
}

void RunningScores::add(const at::Tensor& logits, const at::Tensor& rows,
                        std::span<const std::int32_t> labels, std::span<const std::int32_t> contexts) {
  COHORT_CHECK(logits.dim() == 2 && logits.size(1) == classes_, "logits of {} columns for {} classes",
               logits.size(-1), classes_);
  const at::Tensor values = logits.to(at::kCPU, at::kDouble).contiguous();  // [n, classes]
  finite_ = finite_ && values.isfinite().all().item<bool>();
  if (!finite_) return;
  const at::Tensor log_probability = values.log_softmax(1);
  const std::vector<Answer> answers = answers_of(values, log_probability, labels, {});
  const std::size_t keys = labels.empty() ? 0 : contexts.size() / labels.size();
  const auto* row = rows.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> known;
  std::vector<std::int32_t> known_labels;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0) continue;
    count(answers[known.size()], row[i], contexts.subspan(i * keys, keys));
    known.push_back(static_cast<std::int64_t>(i));
    known_labels.push_back(labels[i]);
  }
  if (known.empty()) return;
  const at::Tensor ranked =
      classes_ == 2 ? (values.select(1, 1) - values.select(1, 0)).unsqueeze(1) : log_probability;
  rankings_.add(ranked.index_select(0, tensor_of(known)).contiguous(), known_labels);
}

/// Collective. Counts and sums become those of all ranks.
void RunningScores::add_up(comm::Communicator& ranks) {
  std::vector<std::int64_t> all = confusion_;
  std::vector<Tally*> tallies;
  for (Tally& tally : bins_) tallies.push_back(&tally);
  for (Tally& tally : contexts_) tallies.push_back(&tally);
  std::array<std::int64_t, ExactSum::kParts> parts{};
  const auto put = [&](const ExactSum& sum) {
    sum.put(parts);
    all.insert(all.end(), parts.begin(), parts.end());
  };
  put(loss_);
  for (const Tally* tally : tallies) {
    all.insert(all.end(), {tally->images, tally->correct});
    put(tally->confidence);
  }
  all.insert(all.end(), at_threshold_.begin(), at_threshold_.end());
  all.push_back(finite_ ? 0 : 1);
  const at::Tensor sums = tensor_of(all);
  ranks.all_reduce(sums).wait();
  const auto* next = sums.const_data_ptr<std::int64_t>();
  for (std::int64_t& value : confusion_) value = *next++;
  const auto take = [&](ExactSum& sum) {
    sum.take({next, ExactSum::kParts});
    next += ExactSum::kParts;
  };
  take(loss_);
  loss_.set_beyond(ranks.sum(loss_.beyond()));
  for (Tally* tally : tallies) {
    tally->images = *next++;
    tally->correct = *next++;
    take(tally->confidence);
  }
  for (std::int64_t& value : at_threshold_) value = *next++;
  finite_ = *next == 0;
}

/// Collective. Of two classes by their margin, of more the mean over those that occur, each against the rest.
std::optional<Area> RunningScores::area_of(const std::vector<std::int64_t>& of_class, std::int64_t images,
                                           comm::Communicator& ranks) {
  if (classes_ == 2) {
    detail_.areas = {rankings_.area(0, 1, of_class[1], of_class[0], ranks)};
    return detail_.areas.front();
  }
  const std::vector<std::size_t> drawn = drawn_classes(of_class);
  double sum = 0;
  std::int64_t occurring = 0;
  for (std::int32_t c = 0; c < classes_; ++c) {
    const std::int64_t positives = of_class[static_cast<std::size_t>(c)];
    auto& area = detail_.areas.emplace_back(rankings_.area(c, c, positives, images - positives, ranks));
    if (!area) continue;
    if (!std::binary_search(drawn.begin(), drawn.end(), static_cast<std::size_t>(c)))
      area->roc = area->precision_recall = {};
    sum += area->area;
    ++occurring;
  }
  if (occurring == 0) return std::nullopt;
  return Area{sum / static_cast<double>(occurring), std::nullopt};
}

/// Collective.
void RunningScores::add_intervals(Scores& scores, const std::optional<Area>& area,
                                  comm::Communicator& ranks) const {
  if (!resampled_) {
    const auto correct =
        std::accumulate(bins_.begin(), bins_.end(), std::int64_t{0},
                        [](std::int64_t sum, const Tally& bin) { return sum + bin.correct; });
    scores.accuracy_interval = binomial_95(correct, scores.images);
    if (classes_ == 2 && area) scores.auc_interval = area->interval;
    return;
  }
  const at::Tensor rows = ranks.gather_rows(tensor_of(rows_)), order = rows.argsort(),
                   right = ranks.gather_rows(tensor_of(right_)).index_select(0, order);
  const std::span<const std::int64_t> hits(right.const_data_ptr<std::int64_t>(),
                                           static_cast<std::size_t>(right.numel()));
  if (classes_ != 2) {
    scores.accuracy_interval = bootstrap(hits, nullptr).accuracy;
    return;
  }
  const at::Tensor margins = ranks.gather_rows(at::tensor(margins_, at::kDouble)).index_select(0, order),
                   positive = ranks.gather_rows(tensor_of(labels_)).index_select(0, order).to(at::kBool);
  const Ranking ranking({margins.const_data_ptr<double>(), hits.size()},
                        {positive.const_data_ptr<bool>(), hits.size()});
  const BootstrapIntervals intervals = bootstrap(hits, &ranking);
  scores.accuracy_interval = intervals.accuracy;
  scores.auc_interval = intervals.area;
}

/// Collective. But for areas.
void RunningScores::add_detail(comm::Communicator& ranks) {
  for (const Tally& bin : bins_) {
    const double images = std::max(1.0, static_cast<double>(bin.images));
    detail_.bins.push_back({bin.images, bin.correct, bin.confidence.value() / images});
  }
  for (const Tally& tally : contexts_)
    detail_.contexts.push_back(
        tally.images == 0 ? ContextScore{}
                          : context_score("", tally.images, tally.correct, tally.confidence.value()));
  detail_.at_threshold = {{{at_threshold_[0], at_threshold_[1]}, {at_threshold_[2], at_threshold_[3]}}};
  detail_.errors = errors_.finish(ranks);
}

Scores RunningScores::finish(std::span<const std::string> context_names, comm::Communicator& ranks) {
  add_up(ranks);
  Scores scores;
  comm::together(ranks, [&] {
    if (!finite_) refuse_infinite_answers();
    scores.images = std::accumulate(confusion_.begin(), confusion_.end(), std::int64_t{0});
    if (scores.images == 0) refuse_no_labels();
  });
  const auto images = static_cast<double>(scores.images);
  ExactSum confidence;
  std::int64_t correct = 0;
  for (const Tally& bin : bins_) {
    correct += bin.correct;
    confidence.add(bin.confidence);
    scores.calibration_error += std::abs(static_cast<double>(bin.correct) - bin.confidence.value()) / images;
  }
  scores.accuracy = static_cast<double>(correct) / images;
  scores.loss = loss_.value() / images;
  scores.confidence = confidence.value() / images;
  const Confusion confusion(confusion_, classes_);
  confusion.put(scores);
  const std::optional<Area> area = area_of(confusion.of_labels(), scores.images, ranks);
  if (area) scores.auc = area->area;
  add_intervals(scores, area, ranks);
  add_detail(ranks);
  for (std::size_t i = 0; i < context_names.size(); ++i) {
    if (detail_.contexts[i].images == 0) continue;
    scores.contexts.push_back(detail_.contexts[i]);
    scores.contexts.back().context = context_names[i];
  }
  return scores;
}

}  // namespace cohort::eval
