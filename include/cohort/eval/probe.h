#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/eval/stored_rows.h"

namespace cohort::eval {

struct ProbeConfig {
  std::vector<double> rates{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0};  ///< a classifier for each
  std::int64_t hidden = 0;  ///< width of a hidden layer with GELU; 0: a linear classifier
  std::int64_t epochs = 100, batch = 512;
  double label_smoothing = 0.1;
  bool standardise = true;  ///< features to mean 0 and deviation 1 over the training images
  std::uint64_t seed = 0;
};

/// A classifier of frozen features.
struct Probe {
  double rate = 0;                  ///< learning rate it was trained with
  at::Tensor mean, scale;           ///< [D]: features become (x - mean) · scale
  std::vector<at::Tensor> weights;  ///< [classes, D], or [hidden, D] and [classes, hidden]
  std::vector<at::Tensor> biases;   ///< one for each of the weights
  /// [N, classes] f32 of `features` [N, D].
  [[nodiscard]] at::Tensor logits(const at::Tensor& features) const;
};

/// Trains one classifier for each learning rate: SGD with momentum 0.9 and without weight decay, a cosine to
/// 0, batches from a random order of each epoch (the rest of an epoch that does not fill a batch makes a
/// smaller one). Mean and deviation are summed up in fp64.
///
/// Collective. `examples`: features [N, D] f32; those without a label are left out. The rates are divided
/// over the ranks and every rank gets all classifiers: the same bits on any number of ranks. Memory of a
/// rank: a block of 8192 images, a batch, and the order of up to 2²⁰ images; orders of more are computed
/// (Permutation). Throws DataError when no image has a label, UsageError where there
/// are 2³¹ images or more.
std::vector<Probe> train_probes(const LabelledRows& examples, std::int64_t classes, const ProbeConfig& config,
                                comm::Communicator& ranks);

}  // namespace cohort::eval
