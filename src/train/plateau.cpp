#include "train/plateau.h"

#include <cmath>

#include <ATen/ops/zeros.h>

namespace cohort::train {
namespace {

// Of the buffer. The name of the score is two values, since fp32 counts to 2^24 alone.
enum PlateauValue { kSeenScore, kBestScore, kWaitedFor, kReductions, kNameHigh, kNameLow, kPlateauValues };
constexpr int kNameBits = 24;
constexpr std::uint64_t kLowName = (std::uint64_t{1} << kNameBits) - 1;

}  // namespace

Plateau::Plateau(const PlateauConfig& config, std::uint64_t score, bool lower_is_better)
    : config_(config),
      score_(score),
      lower_is_better_(lower_is_better),
      values_(at::zeros({kPlateauValues})) {
  name_score();
}

float& Plateau::at(int value) const noexcept {
  return values_.data_ptr<float>()[value];
}

void Plateau::name_score() noexcept {
  at(kNameHigh) = static_cast<float>(score_ >> kNameBits);
  at(kNameLow) = static_cast<float>(score_ & kLowName);
}

std::int64_t Plateau::reductions() const noexcept {
  return static_cast<std::int64_t>(at(kReductions));
}

// As the buffer has it, so that a run that goes on compares the same values.
bool Plateau::is_better(double score) const noexcept {
  if (!std::isfinite(score)) return false;
  if (at(kSeenScore) == 0.0F) return true;
  const double value = static_cast<float>(score), best = at(kBestScore);
  return lower_is_better_ ? value < best * (1.0 - config_.threshold)
                          : value > best * (1.0 + config_.threshold);
}

bool Plateau::note(double score) noexcept {
  if (is_better(score)) {
    at(kSeenScore) = 1.0F;
    at(kBestScore) = static_cast<float>(score);
    at(kWaitedFor) = 0.0F;
    return false;
  }
  at(kWaitedFor) += 1.0F;
  if (at(kWaitedFor) <= static_cast<float>(config_.patience)) return false;
  at(kWaitedFor) = 0.0F;
  at(kReductions) += 1.0F;
  return true;
}

void Plateau::restored() noexcept {
  const bool is_same = at(kNameHigh) == static_cast<float>(score_ >> kNameBits) &&
                       at(kNameLow) == static_cast<float>(score_ & kLowName);
  if (is_same) return;
  at(kSeenScore) = at(kWaitedFor) = 0.0F;
  name_score();
}

method::Buffer Plateau::buffer() const {
  return {"/schedule/plateau", values_};
}

}  // namespace cohort::train
