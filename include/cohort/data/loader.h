#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "cohort/data/batch.h"
#include "cohort/data/loader_config.h"

namespace cohort::data {

/// Makes the batches of steps first, first+1, … last-1 in order, on threads of its own, a few ahead; with 0
/// threads in next(), when they are asked for.
class Loader {
 public:
  /// Called by one thread at a time; `workers` help it.
  using Make = std::function<Batch(std::int64_t step, Workers& workers)>;
  Loader(Make make, std::int64_t first, std::int64_t last, const LoaderConfig& config);
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  ~Loader();  ///< stops the threads, in the middle of a batch; batches not taken are dropped

  /// The next batch. Blocks until it is made. Rethrows here what `make` threw there. Bug after the last one.
  Batch next();
  /// Time next() has waited since the last call of this function.
  std::chrono::duration<double> take_wait() noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort::data
