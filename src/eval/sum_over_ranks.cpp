#include "eval/sum_over_ranks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <ATen/ATen.h>

namespace cohort::eval {
namespace {

constexpr std::size_t kTogether = std::size_t{1} << 16;  // 4 MiB of parts

void sum_block(std::span<ExactSum> sums, comm::Communicator& ranks) {
  const auto count = static_cast<std::int64_t>(sums.size());
  const at::Tensor parts = at::empty({count, static_cast<std::int64_t>(ExactSum::kParts)}, at::kLong),
                   beyond = at::empty({count}, at::kDouble);
  auto* next = parts.data_ptr<std::int64_t>();
  auto* largest = beyond.data_ptr<double>();
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sums[i].put({next + i * ExactSum::kParts, ExactSum::kParts});
    largest[i] = sums[i].beyond();
  }
  ranks.all_reduce(parts).wait();
  ranks.all_reduce(beyond).wait();
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sums[i].take({next + i * ExactSum::kParts, ExactSum::kParts});
    sums[i].set_beyond(largest[i]);
  }
}

}  // namespace

void sum_over_ranks(std::span<ExactSum> sums, comm::Communicator& ranks) {
  for (std::size_t begin = 0; begin < sums.size(); begin += kTogether)
    sum_block(sums.subspan(begin, std::min(kTogether, sums.size() - begin)), ranks);
}

}  // namespace cohort::eval
