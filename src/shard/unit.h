#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "cohort/comm/mesh.h"

#include "flat_parameter.h"

namespace cohort::shard {

/// The flat parameters of one unit, and whether their whole values are there.
class Unit {
 public:
  explicit Unit(std::vector<std::unique_ptr<FlatParameter>> flats) noexcept : flats_(std::move(flats)) {}

  /// Collective, unless the values are there or on their way.
  void start_gather(comm::DeviceMesh& mesh);
  /// Collective, like start_gather(). Returns when the values are there.
  void make_whole(comm::DeviceMesh& mesh);
  /// The whole values are not needed for now; those on their way are waited for.
  void release();
  /// The shards have changed: gather again before the next use.
  void make_stale();

  [[nodiscard]] const std::vector<std::unique_ptr<FlatParameter>>& flats() const noexcept { return flats_; }

 private:
  enum class State { sharded, gathering, whole };

  std::vector<std::unique_ptr<FlatParameter>> flats_;
  State state_ = State::sharded;
  std::vector<comm::Work> gathers_;
};

/// The parameters of `model`, by unit, the root unit last, trained and frozen ones apart; a parameter that
/// appears twice (tied weights) belongs to the first unit that has it and keeps the first name.
std::vector<std::vector<NamedParameter>> parameters_by_unit(const nn::UnitModel& model);

}  // namespace cohort::shard
