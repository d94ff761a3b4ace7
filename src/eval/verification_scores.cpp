#include "eval/verification_scores.h"

#include <bit>
#include <cmath>
#include <limits>
#include <span>

#include <ATen/ATen.h>

#include "eval/answers.h"

namespace cohort::eval {
namespace {

constexpr std::size_t kScoresTogether = std::size_t{1} << 18;
constexpr std::uint64_t kIsPositive = std::uint64_t{1} << 63;

double rate_of(std::int64_t wrong, std::int64_t all) noexcept {
  return all == 0 ? std::numeric_limits<double>::quiet_NaN()
                  : static_cast<double>(wrong) / static_cast<double>(all);
}

double threshold_of(std::size_t step) noexcept {
  constexpr auto kLast = static_cast<std::size_t>(ThresholdGrid::kSteps);
  return step > kLast ? 1.1 : static_cast<double>(step) / static_cast<double>(kLast);
}

/// The highest threshold that is not above the score.
std::size_t step_of(double score) noexcept {
  auto step = static_cast<std::size_t>(score * static_cast<double>(ThresholdGrid::kSteps));
  while (step > 0 && threshold_of(step) > score) --step;
  while (threshold_of(step + 1) <= score) ++step;
  return step;
}

void sum_counts(std::vector<std::int64_t>& counts, comm::Communicator& ranks) {
  ranks.all_reduce(at::from_blob(counts.data(), {std::ssize(counts)}, at::kLong)).wait();
}

}  // namespace

void VerificationCounts::add(bool is_genuine, bool accepted) noexcept {
  ++(is_genuine ? genuine : others);
  if (is_genuine && !accepted) ++rejected_genuine;
  if (!is_genuine && accepted) ++accepted_others;
}

double VerificationCounts::false_reject_rate() const noexcept {
  return rate_of(rejected_genuine, genuine);
}

double VerificationCounts::false_accept_rate() const noexcept {
  return rate_of(accepted_others, others);
}

double VerificationCounts::half_total_error() const noexcept {
  return (false_accept_rate() + false_reject_rate()) / 2;
}

double VerificationCounts::accuracy() const noexcept {
  return rate_of(genuine + others - rejected_genuine - accepted_others, genuine + others);
}

Score VerificationCounts::half_total_error_score() const {
  Score score{"hter", half_total_error(), {}, false};
  if (genuine == 0 || others == 0) return score;
  const Interval rejected = wilson(rejected_genuine, genuine), accepted = wilson(accepted_others, others);
  const double reject = false_reject_rate(), accept = false_accept_rate();
  score.interval = Interval{score.value - std::hypot(reject - rejected.low, accept - accepted.low) / 2,
                            score.value + std::hypot(rejected.high - reject, accepted.high - accept) / 2};
  return score;
}

void ThresholdGrid::add(double score, bool is_genuine) noexcept {
  ++counts_[(is_genuine ? kThresholds : 0) + step_of(score)];
}

void ThresholdGrid::add_up(comm::Communicator& ranks) {
  sum_counts(counts_, ranks);
}

template <class Use>
void ThresholdGrid::for_each(const Use& use) const {
  VerificationCounts counts;
  for (std::size_t step = 0; step < kThresholds; ++step) {
    counts.others += counts_[step];
    counts.genuine += counts_[kThresholds + step];
  }
  counts.accepted_others = counts.others;
  for (std::size_t step = 0; step < kThresholds; ++step) {
    use(threshold_of(step), counts);
    counts.accepted_others -= counts_[step];
    counts.rejected_genuine += counts_[kThresholds + step];
  }
}

ThresholdGrid::Point ThresholdGrid::equal_error() const {
  Point best;
  double least = std::numeric_limits<double>::infinity();
  for_each([&](double threshold, const VerificationCounts& counts) {
    const double difference = std::abs(counts.false_reject_rate() - counts.false_accept_rate());
    if (difference > least) return;
    least = difference;
    best = {threshold, counts};
  });
  return best;
}

std::array<Curve, 2> ThresholdGrid::curves() const {
  constexpr auto kStride = static_cast<std::size_t>(kSteps) / (Curve::kMostPoints - 50);
  std::array<Curve, 2> curves{
      Curve{"error_rates", "others accepted", "threshold", "part of the images", {}},
      Curve{"error_rates", "genuine rejected", "threshold", "part of the images", {}}};
  std::size_t step = 0;
  for_each([&](double threshold, const VerificationCounts& counts) {
    if (step++ % kStride != 0 || threshold > 1) return;
    curves[0].points.push_back({threshold, counts.false_accept_rate()});
    curves[1].points.push_back({threshold, counts.false_reject_rate()});
  });
  return curves;
}

void SpilledScores::add(double score, bool positive) {
  waiting_.push_back(std::bit_cast<std::uint64_t>(score + 0.0) | (positive ? kIsPositive : 0));
  if (waiting_.size() == kScoresTogether) flush();
}

void SpilledScores::flush() {
  offsets_.push_back(spill_.append(std::as_bytes(std::span(waiting_))));
  waiting_.clear();
}

template <class Use>
void SpilledScores::for_each(const Use& use) const {
  const auto all = [&](const std::vector<std::uint64_t>& scores) {
    for (const std::uint64_t bits : scores) use(bits & ~kIsPositive, (bits & kIsPositive) != 0);
  };
  std::vector<std::uint64_t> chunk(offsets_.empty() ? 0 : kScoresTogether);
  for (const std::uint64_t offset : offsets_) {
    spill_.read(offset, std::as_writable_bytes(std::span(chunk)));
    all(chunk);
  }
  all(waiting_);
}

/// Scores are counted by 16 bits at a time, from the highest score down, until the next ones would be too
/// many; of these the next 16 bits are looked at.
double SpilledScores::true_positive_rate(double rate, std::int64_t positives, std::int64_t negatives,
                                         comm::Communicator& ranks) {
  constexpr std::size_t kBuckets = std::size_t{1} << 16;
  std::int64_t accepted = 0, wrongly = 0;
  std::uint64_t prefix = 0;
  for (int shift = 48; shift >= 0; shift -= 16) {
    std::vector<std::int64_t> counts(2 * kBuckets);
    comm::together(ranks, [&] {
      for_each([&](std::uint64_t bits, bool positive) {
        if (shift < 48 && bits >> (shift + 16) != prefix) return;
        ++counts[(positive ? kBuckets : 0) + ((bits >> shift) & (kBuckets - 1))];
      });
    });
    sum_counts(counts, ranks);
    std::size_t bucket = kBuckets;
    for (; bucket > 0; --bucket) {
      if (rate_of(wrongly + counts[bucket - 1], negatives) > rate) break;
      wrongly += counts[bucket - 1];
      accepted += counts[kBuckets + bucket - 1];
    }
    if (bucket == 0) break;
    prefix = prefix << 16 | (bucket - 1);
  }
  return rate_of(accepted, positives);
}

}  // namespace cohort::eval
