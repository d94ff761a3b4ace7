#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

#include "cohort/eval/stored_rows.h"

namespace cohort::eval {

/// Images that have a label.
struct Labelled {
  at::Tensor features;  ///< [N', D]
  at::Tensor labels;    ///< [N'] i64
  at::Tensor rows;      ///< [N'] i64, places among all images
};

/// The images that have a label, in dataset order, so many at a time.
class LabelledBlocks {
 public:
  LabelledBlocks(const LabelledRows& all, std::int64_t size, comm::Communicator& ranks)
      : all_(all), size_(size), ranks_(ranks) {}
  /// Collective. The next `size` images, fewer of the last ones; none behind them. Memory that was freed
  /// since goes back to the system: gaps that blocks have left do not hold the next ones
  /// (return_freed_memory()). Throws what labels do.
  Labelled next();

 private:
  const LabelledRows& all_;
  std::int64_t size_;
  comm::Communicator& ranks_;
  std::int64_t next_ = 0;  // row
  Labelled waiting_;       // what of the last rows was too much
};

}  // namespace cohort::eval
