#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cohort/data/batch.h"
#include "cohort/data/context_sampler.h"
#include "cohort/data/dataset.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// The training split and the order in which a run sees it. batch() is safe from any thread.
class TrainingData {
 public:
  /// Checks all that the configuration says of the dataset. Throws UsageError (unknown split, column or
  /// context; `ranks` does not divide the groups of a step) or DataError (damaged dataset; contexts with too
  /// few images or none).
  /// `split`: opened by open_training_split().
  TrainingData(const RunConfig& config, data::Dataset split, int ranks, bool pinned);

  [[nodiscard]] const data::Dataset& dataset() const noexcept { return dataset_; }
  [[nodiscard]] const std::string& label() const noexcept { return columns_.label; }
  [[nodiscard]] std::int64_t steps_per_epoch() const noexcept { return sampler_.steps_per_epoch(); }
  [[nodiscard]] std::int64_t images() const noexcept { return sampler_.images(); }
  /// Images of each class among those that the run trains on; empty without labels.
  [[nodiscard]] std::vector<std::int64_t> label_counts() const;
  /// Images in the global batch.
  [[nodiscard]] std::int64_t global_images() const noexcept;
  /// Backward passes of a step on each of `ranks`: of one group each when the run is reproducible.
  [[nodiscard]] std::int64_t backward_passes(int ranks) const;
  /// The id of the first image of a batch with a value that is not finite; empty: there is none.
  [[nodiscard]] std::string first_bad_image(const data::Batch& batch) const;
  /// What `rank` of `size` works on in step `step` of the run, on the CPU.
  [[nodiscard]] data::Batch batch(std::int64_t step, int rank, int size, Workers& workers) const;

 private:
  const RunConfig& config_;
  data::Dataset dataset_;
  data::BatchColumns columns_;
  data::ContextSampler sampler_;
};

/// Collective. The split to train on with the labels that training and evaluation need. Throws UsageError or
/// DataError on all ranks alike.
data::Dataset open_training_split(const RunConfig& config, comm::Communicator& ranks);

/// Name and checksum of what a resumed run must find again: layout, vocabularies, classes and the shards of
/// `split`.
std::string dataset_identity(const data::Description& description, const std::string& split);

}  // namespace cohort::train
