#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cohort/comm/communicator.h"

namespace cohort::eval {

/// Of images that ranks see some after others the few with the largest scores, ties by row.
class ExtremeRows {
 public:
  static constexpr std::size_t kMost = 24;

  struct Entry {
    double score = 0.0;
    // Whatever is to be told of the image.
    std::int64_t row = 0, label = 0, answer = 0;
    double truth = 0.0, said = 0.0;
  };

  /// Keeps `most` of them.
  explicit ExtremeRows(std::size_t most = kMost) : most_(most) {}
  void add(const Entry& entry);
  /// Collective, once. Largest first, at most `most`; the same on every rank.
  std::vector<Entry> finish(comm::Communicator& ranks);

 private:
  void keep_most();

  std::size_t most_;
  std::vector<Entry> entries_;  // below 2 most_
};

}  // namespace cohort::eval
