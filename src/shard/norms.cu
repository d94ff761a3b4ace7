#include "norms_kernel.h"
#include "support/kernel_launch.h"

namespace cohort::shard {
namespace {

constexpr int kThreads = 256, kPiecesOfBlock = kThreads / kSquareLanes;

// Neighbouring threads are the lanes of a piece: together they read whole sectors of memory.
__global__ void square_sums(const HeldPart* parts, std::int64_t count, std::int64_t pieces, double* table) {
  __shared__ double lanes[kThreads];
  const std::int64_t number = std::int64_t{blockIdx.x} * kPiecesOfBlock + threadIdx.x / kSquareLanes;
  const int lane = threadIdx.x % kSquareLanes;
  const bool used = number < pieces;
  HeldPiece piece{};
  if (used) {
    piece = find_piece(parts, count, number);
    lanes[threadIdx.x] = sum_lane(piece, lane);
  }
  __syncthreads();
  if (used && lane == 0) table[piece.number] = sum_of_lanes(lanes + threadIdx.x);
}

}  // namespace

cudaError_t launch_square_sums(const HeldPart* parts, std::int64_t count, std::int64_t pieces, double* table,
                               cudaStream_t stream) {
  if (pieces == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((pieces + kPiecesOfBlock - 1) / kPiecesOfBlock);
  return launch_kernel(square_sums, blocks, kThreads, stream, parts, count, pieces, table);
}

}  // namespace cohort::shard
