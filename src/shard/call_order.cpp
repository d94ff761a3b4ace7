#include "call_order.h"

#include <algorithm>
#include <utility>

namespace cohort::shard {

CallOrder::CallOrder(std::size_t units) : next_(units) {
  for (std::size_t unit = 0; unit + 1 < units; ++unit) next_[unit] = unit + 1;
}

void CallOrder::end() noexcept {
  if (current_) next_[*current_].reset();
  current_.reset();
}

std::optional<std::size_t> CallOrder::call(std::size_t unit) {
  if (current_) next_[*current_] = unit;
  current_ = unit;
  return next_.at(unit);
}

std::size_t OpenCalls::add(std::size_t unit) {
  constexpr std::uint64_t kPrime = 0x100000001b3;  // FNV-1a
  digest_ = (digest_ ^ (unit + 1)) * kPrime;
  if (!first_.at(unit)) first_[unit] = calls_.size();
  ++open_[unit];
  calls_.push_back({unit});
  return calls_.size() - 1;
}

void OpenCalls::pop() {
  --open_[calls_.back().unit];
  calls_.pop_back();
}

void OpenCalls::clear() {
  calls_.clear();
  std::fill(open_.begin(), open_.end(), 0);
  std::fill(first_.begin(), first_.end(), std::nullopt);
}

std::vector<std::size_t> OpenCalls::order_of_completion() const {
  std::vector<std::size_t> order(first_.size());
  for (std::size_t unit = 0; unit < order.size(); ++unit) order[unit] = order.size() - 1 - unit;
  // An empty optional is less than any number.
  std::stable_sort(order.begin(), order.end(),
                   [this](std::size_t a, std::size_t b) { return first_[a] > first_[b]; });
  return order;
}

std::uint64_t OpenCalls::take_digest() noexcept {
  return std::exchange(digest_, 0);
}

}  // namespace cohort::shard
