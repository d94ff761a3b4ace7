#pragma once
#include <cstdint>

#include "support/device_code.h"

namespace cohort::shard {

/// Sums of squares are formed over pieces: the parts of a parameter in chunks of this many values of a flat
/// parameter.
inline constexpr std::int64_t kPieceChunk = 1024;
/// A sum of squares is formed in this many sums, of every eighth value each, which are then added in order.
inline constexpr std::int64_t kSquareLanes = 8;

/// The part of a parameter that a rank holds: its pieces have neighbouring numbers.
struct HeldPart {
  const float* values;        ///< those of the rank's shard
  std::int64_t shard_begin;   ///< of the shard in the flat parameter
  std::int64_t begin, end;    ///< in the flat parameter
  std::int64_t first_piece;   ///< among those that this rank holds
  std::int64_t first_number;  ///< in the table of all pieces of all ranks
};

/// A piece: its values, and where its sum belongs.
struct HeldPiece {
  const float* values;
  std::int64_t count, number;
};

/// Piece number `piece` of those that this rank holds. `parts` are in the order of their pieces, each with
/// one or more.
COHORT_DEVICE_CODE HeldPiece find_piece(const HeldPart* parts, std::int64_t count, std::int64_t piece) {
  std::int64_t low = 0;
  for (std::int64_t high = count; high - low > 1;) {
    const std::int64_t middle = low + (high - low) / 2;
    if (parts[middle].first_piece <= piece)
      low = middle;
    else
      high = middle;
  }
  const HeldPart& part = parts[low];
  const std::int64_t chunk = part.begin / kPieceChunk + (piece - part.first_piece);
  const std::int64_t begin = chunk * kPieceChunk > part.begin ? chunk * kPieceChunk : part.begin;
  const std::int64_t next = (chunk + 1) * kPieceChunk, end = next < part.end ? next : part.end;
  return {part.values + (begin - part.shard_begin), end - begin,
          part.first_number + (piece - part.first_piece)};
}

/// Sum number `lane` of the kSquareLanes of a piece.
COHORT_DEVICE_CODE double sum_lane(const HeldPiece& piece, std::int64_t lane) {
  double sum = 0.0;
  for (std::int64_t i = lane; i < piece.count; i += kSquareLanes) {
    const double value = static_cast<double>(piece.values[i]);
    sum += value * value;
  }
  return sum;
}

COHORT_DEVICE_CODE double sum_of_lanes(const double* lanes) {
  double sum = 0.0;
  for (std::int64_t lane = 0; lane < kSquareLanes; ++lane) sum += lanes[lane];
  return sum;
}

}  // namespace cohort::shard
