#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "cohort/config/field.h"
#include "cohort/data/batch.h"

namespace cohort::data {

struct LoaderConfig {
  std::int64_t prefetch = 2;

  template <class Visit>
  void fields(Visit& visit) {
    visit("prefetch", prefetch, "batches read ahead of the one in use, by a thread of its own",
          config::Range<std::int64_t>{1, 64});
  }
};

/// Makes the batches of steps first, first+1, … last-1 in order, on a thread of its own, a few ahead.
class Loader {
 public:
  using Make = std::function<Batch(std::int64_t step)>;
  Loader(Make make, std::int64_t first, std::int64_t last, const LoaderConfig& config);
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  ~Loader();  ///< stops the thread; batches not taken are dropped

  /// The next batch. Blocks until it is made. Rethrows here what `make` threw there. Bug after the last one.
  Batch next();
  /// Time next() has waited since the last call of this function.
  std::chrono::duration<double> take_wait() noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort::data
