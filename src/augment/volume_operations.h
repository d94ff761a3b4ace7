#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "cohort/data/field.h"

#include "augment/operation_entry.h"
#include "augment/view_geometry.h"

namespace cohort::augment {

/// What a mask marks in a volume: classes above 0; class 0 is background, and what is not known is neither.
/// Holds no copy. Thread-safe.
class Foreground {
 public:
  /// `values`: a row of `mask`, [D, H, W] of any size, which covers the volume. Of other lengths it marks
  /// nothing.
  Foreground(const data::Field& mask, std::span<const std::byte> values, Sides volume);

  /// Voxels of the mask that belong to the foreground, or to the background.
  [[nodiscard]] std::int64_t count(bool is_foreground) const noexcept {
    return counts_.at(is_foreground ? 1 : 0);
  }
  /// Voxel of the volume, as (z, y, x).
  using Voxel = std::array<std::int64_t, 3>;
  /// In which the middle of number `number` of them lies, in the order of storage. Precondition: below
  /// count().
  [[nodiscard]] Voxel voxel(bool is_foreground, std::int64_t number) const;

 private:
  const data::Field& mask_;
  std::span<const std::byte> values_;
  Sides volume_;
  std::array<std::int64_t, 2> counts_{};
};

/// The operations that volumes alone have, by name, for the table of all.
std::map<std::string, OperationEntry> volume_operations();

}  // namespace cohort::augment
