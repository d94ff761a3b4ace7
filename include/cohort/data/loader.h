#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "cohort/config/field.h"
#include "cohort/data/batch.h"

namespace cohort::data {

struct LoaderConfig {
  std::int64_t threads = 1;
  std::int64_t prefetch = 2;
  config::Bytes prefetch_bytes{std::uint64_t{1} << 30};

  template <class Visit>
  void fields(Visit& visit) {
    visit("threads", threads,
          "threads of each rank that read images and make views beside training; more where data_wait is not "
          "near 0; 0: the thread that trains makes each batch when it needs it, the same one",
          config::Range<std::int64_t>{0, 1024});
    visit("prefetch", prefetch, "batches made ahead of the one in use", config::Range<std::int64_t>{1, 64});
    visit("prefetch_bytes", prefetch_bytes,
          "memory of a rank for them; one is made ahead even if it is larger, besides the one being made",
          config::Range<std::uint64_t>{1 << 20, std::uint64_t{1} << 50});
  }
};

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
