#include "norms.h"

#include <algorithm>
#include <array>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "cohort/core/error.h"

#include "core/for_this_processor.h"
#include "flat_parameter.h"
#ifdef COHORT_CUDA
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "norms_kernel.h"
#endif

namespace cohort::shard {
namespace {

static_assert(kPieceChunk == kChunk, "shards are cut between chunks, so that one rank has all of a piece");

// Lanes let the compiler use vector registers without changing the order in which any one sum is formed;
// parameters begin at multiples of their number. Squares of floats are exact in f64: the same bits with and
// without fused multiply-add.
[[gnu::always_inline]] inline double sum_of_squares(std::span<const float> values) {
  constexpr std::size_t kLanes = kSquareLanes;
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
  return sum_of_lanes(lanes.data());
}

std::int64_t pieces_between(std::int64_t begin, std::int64_t end) {
  return begin >= end ? 0 : (end - 1) / kChunk - begin / kChunk + 1;
}

std::int64_t pieces_of(const ParameterSlot& slot) {
  return pieces_between(slot.offset, slot.offset + c10::multiply_integers(slot.shape));
}

// [held.table] f64 on the CPU: zero where other ranks hold a piece.
at::Tensor sums_on_host(const HeldParts& held) {
  at::Tensor table = at::zeros({held.table}, at::kDouble);
  auto* const sums = table.mutable_data_ptr<double>();
  at::parallel_for(0, held.pieces, 64, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const HeldPiece piece = find_piece(held.parts.data(), std::ssize(held.parts), i);
      sums[piece.number] =
          for_this_processor<sum_of_squares>(std::span(piece.values, static_cast<std::size_t>(piece.count)));
    }
  });
  return table;
}

#ifdef COHORT_CUDA
// The same on the device that the values are on: one kernel for all shards.
at::Tensor sums_on_device(const HeldParts& held, const at::Device& device) {
  const c10::cuda::CUDAGuard guard(device);
  const auto bytes = static_cast<std::int64_t>(held.parts.size() * sizeof(HeldPart));
  at::Tensor host = at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(true));
  std::copy_n(held.parts.data(), held.parts.size(), static_cast<HeldPart*>(host.mutable_data_ptr()));
  const at::Tensor parts = host.to(device, /*non_blocking=*/true);
  at::Tensor table = at::zeros({held.table}, at::TensorOptions(at::kDouble).device(device));
  C10_CUDA_CHECK(launch_square_sums(static_cast<const HeldPart*>(parts.const_data_ptr()),
                                    std::ssize(held.parts), held.pieces, table.mutable_data_ptr<double>(),
                                    c10::cuda::getCurrentCUDAStream()));
  return table;
}
#endif

at::Tensor square_sums(const HeldParts& held, const at::Device& device) {
#ifdef COHORT_CUDA
  if (device.is_cuda()) return sums_on_device(held, device);
#endif
  // No values, but norms that are clipped.
  if (device.is_meta()) return at::ones({held.table}, at::kDouble);
  COHORT_CHECK(device.is_cpu(), "norms on {} in a build without CUDA", device.str());
  return sums_on_host(held);
}

std::vector<at::Tensor> as_floats(std::span<const FlatShard> shards, std::span<const at::Tensor> values) {
  COHORT_CHECK(values.size() == shards.size(), "{} tensors for {} shards", values.size(), shards.size());
  std::vector<at::Tensor> floats(values.size());
  for (std::size_t s = 0; s < values.size(); ++s) {
    if (!values[s].defined()) continue;
    COHORT_CHECK(values[s].dim() == 1 && values[s].numel() == shards[s].value.numel(),
                 "{} values for a shard of {}", values[s].numel(), shards[s].value.numel());
    floats[s] = values[s].to(at::kFloat).contiguous();
  }
  return floats;
}

}  // namespace

HeldParts held_parts(std::span<const FlatShard> shards, std::span<const at::Tensor> values) {
  HeldParts held;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    const FlatShard& shard = shards[s];
    for (const ParameterSlot& slot : shard.slots) {
      const std::int64_t begin = std::max(slot.offset, shard.begin),
                         end = std::min(slot.offset + c10::multiply_integers(slot.shape),
                                        shard.begin + shard.value.numel());
      if (values[s].defined() && begin < end) {
        held.parts.push_back({values[s].const_data_ptr<float>(), shard.begin, begin, end, held.pieces,
                              held.table + begin / kChunk - slot.offset / kChunk});
        held.pieces += pieces_between(begin, end);
      }
      held.table += pieces_of(slot);
    }
  }
  return held;
}

std::vector<std::vector<double>> squared_norms(std::span<const FlatShard> shards,
                                               std::span<const at::Tensor> values,
                                               comm::Communicator& ranks) {
  const std::vector<at::Tensor> floats = as_floats(shards, values);
  const HeldParts held = held_parts(shards, floats);
  const auto first =
      std::find_if(floats.begin(), floats.end(), [](const at::Tensor& v) { return v.defined(); });
  // A piece is a number on one rank and zero on the others: their sum is exact in any order.
  at::Tensor table = square_sums(held, first == floats.end() ? at::Device(at::kCPU) : first->device());
  ranks.all_reduce(table).wait();
  table = table.to(at::kCPU);
  std::vector<std::vector<double>> norms;
  const auto* next = table.const_data_ptr<double>();
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
