#include "cohort/method/sinkhorn.h"

#include <ATen/ATen.h>

namespace cohort::method {
namespace {

constexpr int kSinkhornRounds = 3;
constexpr double kShares = 0x1.0p32;  // of a column's sum, in its largest value

void reduce(const at::Tensor& values, comm::Communicator* ranks, comm::Reduce how) {
  if (ranks != nullptr) ranks->all_reduce(values, how).wait();
}

// [K]: log of the sum over the rows of all ranks of exp(values).
at::Tensor log_sum_of_columns(const at::Tensor& values, comm::Communicator* ranks) {
  const at::Tensor largest = values.amax(0);
  reduce(largest, ranks, comm::Reduce::max);
  const at::Tensor shares = at::exp(values - largest).mul_(kShares).round_().to(at::kLong).sum(0);
  reduce(shares, ranks, comm::Reduce::sum);
  return largest + at::log(shares.to(at::kDouble) / kShares);
}

}  // namespace

at::Tensor sinkhorn_centre(const at::Tensor& logits, double temperature, comm::Communicator* ranks) {
  const at::NoGradGuard no_grad;
  const at::Tensor scaled = logits.to(at::kDouble) / temperature;
  at::Tensor shift = log_sum_of_columns(scaled, ranks);
  for (int round = 1; round < kSinkhornRounds; ++round)
    shift = shift + log_sum_of_columns(at::log_softmax(scaled - shift, -1), ranks);
  return (shift * temperature).to(logits.scalar_type());
}

}  // namespace cohort::method
