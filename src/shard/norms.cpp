#include "norms.h"

#include <algorithm>
#include <array>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "cohort/core/error.h"

#include "flat_parameter.h"

namespace cohort::shard {
namespace {

// The part of a parameter in one chunk: shards are cut between chunks, so that one rank has all of it.
struct Piece {
  std::int64_t begin, end;  // in the flat parameter
  std::size_t number;       // in the table of all pieces
};

// Lanes let the compiler use vector registers without changing the order in which any one sum is formed;
// parameters begin at multiples of their number.
double sum_of_squares(std::span<const float> values) {
  constexpr std::size_t kLanes = 8;
  std::array<double, kLanes> lanes{};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double x = values[i + lane];
      lanes[lane] += x * x;
    }
  }
  for (std::size_t lane = 0; i < values.size(); ++i, ++lane)
    lanes[lane] += double{values[i]} * double{values[i]};
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

std::int64_t pieces_of(const ParameterSlot& slot) {
  const std::int64_t count = c10::multiply_integers(slot.shape);
  return count == 0 ? 0 : (slot.offset + count - 1) / kChunk - slot.offset / kChunk + 1;
}

// Those that this rank has.
void append_own_pieces(const FlatShard& shard, const ParameterSlot& slot, std::size_t first_number,
                       std::vector<Piece>& pieces) {
  const std::int64_t end = slot.offset + c10::multiply_integers(slot.shape);
  std::int64_t begin = slot.offset;
  for (std::size_t number = first_number; begin < end; ++number) {
    const std::int64_t next = std::min(end, (begin / kChunk + 1) * kChunk);
    if (begin >= shard.begin && next <= shard.begin + shard.value.numel())
      pieces.push_back({begin, next, number});
    begin = next;
  }
}

void sum_pieces(const FlatShard& shard, const at::Tensor& values, const std::vector<Piece>& pieces,
                double* table) {
  COHORT_CHECK(values.dim() == 1 && values.numel() == shard.value.numel(), "{} values for a shard of {}",
               values.numel(), shard.value.numel());
  const at::Tensor host = values.to(at::kCPU, at::kFloat).contiguous();
  const std::span<const float> all(host.const_data_ptr<float>(), static_cast<std::size_t>(host.numel()));
  at::parallel_for(0, std::ssize(pieces), 64, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const Piece& piece = pieces[static_cast<std::size_t>(i)];
      table[piece.number] = sum_of_squares(all.subspan(static_cast<std::size_t>(piece.begin - shard.begin),
                                                       static_cast<std::size_t>(piece.end - piece.begin)));
    }
  });
}

}  // namespace

std::vector<std::vector<double>> squared_norms(std::span<const FlatShard> shards,
                                               std::span<const at::Tensor> values,
                                               comm::Communicator& ranks) {
  COHORT_CHECK(values.size() == shards.size(), "{} tensors for {} shards", values.size(), shards.size());
  std::int64_t count = 0;
  for (const FlatShard& shard : shards) {
    for (const ParameterSlot& slot : shard.slots) count += pieces_of(slot);
  }
  // A piece is a number on one rank and zero on the others: their sum is exact in any order.
  at::Tensor table = at::zeros({count}, at::kDouble);
  auto* sums = table.mutable_data_ptr<double>();
  std::size_t number = 0;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    std::vector<Piece> pieces;
    for (const ParameterSlot& slot : shards[s].slots) {
      append_own_pieces(shards[s], slot, number, pieces);
      number += static_cast<std::size_t>(pieces_of(slot));
    }
    if (values[s].defined()) sum_pieces(shards[s], values[s], pieces, sums);
  }
  ranks.all_reduce(table).wait();
  std::vector<std::vector<double>> norms;
  const double* next = sums;
  for (const FlatShard& shard : shards) {
    auto& of_shard = norms.emplace_back();
    for (const ParameterSlot& slot : shard.slots) {
      double sum = 0.0;
      for (std::int64_t left = pieces_of(slot); left > 0; --left) sum += *next++;
      of_shard.push_back(sum);
    }
  }
  return norms;
}

}  // namespace cohort::shard
