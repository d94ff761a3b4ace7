#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/augment/views.h"
#include "cohort/comm/communicator.h"
#include "cohort/data/batch.h"
#include "cohort/data/dataset.h"
#include "cohort/eval/eval_config.h"
#include "cohort/method/method.h"
#include "cohort/nn/encoder.h"

namespace cohort::eval {

/// What of a model are its features.
struct FeatureChoice {
  std::int64_t layer = -1;  ///< those that enter this layer, counted from 0; -1: those behind the last
  bool patches = false;     ///< tokens of patches as well
};

/// Whether this rank was asked to stop.
using AskedToStop = std::function<bool()>;

/// What a model says of the images of one forward pass, fp32.
struct PassAnswers {
  std::int64_t pass = 0;      ///< its number, which does not depend on the number of ranks
  at::Tensor rows;            ///< [n] i64, of the dataset
  at::Tensor logits;          ///< [n, classes]; undefined without a head
  at::Tensor features;        ///< [n, D]: pooled
  at::Tensor patches;         ///< [n, P, D]; undefined unless asked for
  at::Tensor context;         ///< [n, K, D]: context token behind every image; undefined without keys
  method::Answers answers{};  ///< of a method with a task, [n, …]; in the place of all above
};

/// What becomes of answers.
struct AnswerSink {
  /// This rank's passes, in order.
  std::function<void(PassAnswers answers)> take;
  /// Passes that are left out, the same on every rank; null: none.
  std::function<bool(std::int64_t pass)> has{};
};

/// How many passes predict_passes() makes without `has`. Throws UsageError or DataError.
std::int64_t count_passes(const data::Dataset& dataset, const std::string& group_by,
                          const EvalConfig& config);

/// Collective. Every image of the split exactly once, its context token inferred from groups of
/// `context_images` in dataset order (contexts of `group_by`; empty: of any images, for plain models): the
/// result does not depend on the number of ranks (to the bit where ranks have as many threads). Whole groups
/// are divided over the ranks. No gradients. Answers go to `sink` pass by pass, each on one rank: a rank
/// holds those of one pass. Returns images per second over all ranks. An error that `take` throws is thrown
/// on every rank. `asked_to_stop`: asked before each pass of the model; once it is true on one rank, every
/// rank throws an Error with ExitCode::stopped. Precondition: choice.layer is less than traits().layers, and
/// patches only of an encoder with tokens.
double predict_passes(nn::Encoder& model, const data::Dataset& dataset, const std::string& group_by,
                      const EvalConfig& config, augment::Normalisation normalisation, bool bf16,
                      comm::Communicator& ranks, const AnswerSink& sink, const FeatureChoice& choice = {},
                      const AskedToStop& asked_to_stop = {});

/// What becomes of a method's answers to the images of a pass (fp32 on the CPU).
struct MethodSink {
  /// This rank's passes, in order.
  std::function<void(std::int64_t pass, const data::Batch& batch, const method::Answers& answers)> take;
  /// Passes that are left out, the same on every rank; null: none.
  std::function<bool(std::int64_t pass)> has{};
};

/// Collective. As predict_passes(), of a method with a task (Traits::task): each batch has the `fields` of
/// the dataset, in the view of evaluation where they move with views.
double answer_passes(method::Method& method, const data::Dataset& dataset,
                     const std::vector<std::string>& fields, const std::string& group_by,
                     const EvalConfig& config, augment::Normalisation normalisation, bool bf16,
                     comm::Communicator& ranks, const MethodSink& sink,
                     const AskedToStop& asked_to_stop = {});

/// What `method` answers to the first image of a dataset: [1, …] each. On every rank by itself. Throws
/// DataError. Precondition: units are not collective.
method::Answers first_answers(method::Method& method, const data::Dataset& dataset,
                              const std::vector<std::string>& fields, augment::Normalisation normalisation);

}  // namespace cohort::eval
