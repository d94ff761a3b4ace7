#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include "cohort/augment/device_views.h"
#include "cohort/data/loader.h"

namespace cohort::train {

/// A batch in both places. On the CPU they are the same tensors.
struct FedBatch {
  data::Batch host;       ///< as the loader made it
  data::Batch on_device;  ///< but for `sample`, the key of random numbers, which stays on the host
};

/// Hands out the batches of a loader, and brings them to a device, where it makes views that the loader left
/// out. The loader's thread starts both, on a stream of its own, so that those of the batches ahead
/// (data.loader.prefetch) run beside computation. next() and with_copy() are called in turns, by one thread.
class BatchFeeder {
 public:
  /// `make`, `first`, `last`, `config`: as those of data::Loader. Views should be in page-locked memory.
  /// `views`: makes them of what is in the batches instead.
  BatchFeeder(data::Loader::Make make, std::int64_t first, std::int64_t last,
              const data::LoaderConfig& config, at::Device device, std::optional<augment::DeviceViews> views);
  /// The next batch, on the host. Rethrows what `make` threw.
  data::Batch next() { return loader_.next(); }
  /// The batch that next() has just returned, in both places; its tensors are ready for the current stream.
  FedBatch with_copy(data::Batch host);
  /// Time next() has waited for the loader since the last call of this function.
  std::chrono::duration<double> take_wait() noexcept { return loader_.take_wait(); }

 private:
  struct Copy {
    data::Batch batch;
    c10::Event done;
  };
  data::Batch made(data::Batch batch);  // by the loader's thread
  Copy copy(const data::Batch& host) const;
  data::Batch take_copy();

  at::Device device_;
  std::optional<augment::DeviceViews> views_;
  std::optional<c10::Stream> stream_;  // of copies
  std::mutex mutex_;                   // guards copies_
  std::deque<Copy> copies_;            // of the batches that the loader has ready
  data::Loader loader_;                // last: its thread uses all of the above
};

}  // namespace cohort::train
