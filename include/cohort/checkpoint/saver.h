#pragma once
#include <filesystem>
#include <memory>
#include <vector>

#include "cohort/checkpoint/store.h"
#include "cohort/comm/communicator.h"

namespace cohort::checkpoint {

/// Saves the checkpoints of a run, when and how its configuration says. With `async`, save() returns when the
/// state is copied, and a thread writes it over a communicator of its own; one save at a time is under way.
/// One thread at a time calls it. Other threads that use HDF5 meanwhile hold hdf5::Lock.
class Saver {
 public:
  /// Collective.
  Saver(std::filesystem::path folder, comm::Communicator& ranks, const CheckpointConfig& config);
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;
  /// Not collective. Waits for a save under way; its error is lost: call wait() before.
  ~Saver();

  /// Whether the step just done is one of those to save.
  [[nodiscard]] bool is_due(std::int64_t steps_done) const noexcept;
  /// Whether config.every has passed since the last save() on this rank's clock. Clocks differ: one rank
  /// decides for all.
  [[nodiscard]] bool is_time() const noexcept;

  /// Collective. Waits for the save before, then Store::save(), here or in the background. Throws the
  /// DataError of either on every rank; earlier checkpoints are as they were.
  void save(const std::vector<Slice>& state, const Meta& meta);
  /// Collective. Returns when the last save is complete and verified. Throws its DataError on every rank,
  /// once.
  void wait();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort::checkpoint
