#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/data/batch.h"

namespace cohort::nn {
class UnitModel;
class Encoder;
}  // namespace cohort::nn

namespace cohort::method {

/// Where training stands. `global_images` normalises losses, so that the sum over ranks is the mean over the
/// global batch.
struct Step {
  std::int64_t step = 0, total_steps = 0, epoch = 0;
  std::int64_t global_images = 0;
  std::uint64_t seed = 0;
  comm::Communicator* ranks = nullptr;  ///< for sums over the global batch
};

/// Named means of one step: sums and counts, which the trainer adds over ranks.
class Metrics {
 public:
  struct Entry {
    std::string name;
    double sum;
    std::int64_t count;
  };
  /// Adds to what the name has already.
  void add(const std::string& name, double sum, std::int64_t count) {
    for (Entry& entry : entries_) {
      if (entry.name == name) {
        entry.sum += sum;
        entry.count += count;
        return;
      }
    }
    entries_.push_back({name, sum, count});
  }
  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }

 private:
  std::vector<Entry> entries_;
};

/// A model of a method. Its name is the first part of names in checkpoints: "model", "student", "teacher".
struct Part {
  std::string name;
  std::shared_ptr<nn::UnitModel> model;
  /// The part whose moving average this one is: it starts with the same values and has neither gradients nor
  /// optimizer state. Empty: trained.
  std::string follows{};
  [[nodiscard]] bool is_trained() const noexcept { return follows.empty(); }
};

/// What makes features, in one of the parts: the part itself or a module of it.
struct NamedEncoder {
  std::string name;  ///< by which commands choose it: --part
  std::shared_ptr<nn::Encoder> encoder;
  std::string part;
};

/// Parameters of the trained part whose names begin with `prefix`: they get no update in the first epochs.
struct HeldParameters {
  std::string prefix;
  std::int64_t epochs = 0;
};

/// What a method keeps from step to step besides its parts: the same on every rank, f32. Checkpoints have it
/// as "/method/<name>".
struct Buffer {
  std::string name;
  at::Tensor values;  ///< written in place when a run goes on
};

/// One way of learning (supervised, DINO, MAE …): turns a batch into a loss. One file in src/method/ each.
/// It never sees how parameters are sharded, and communicates only through Step::ranks.
class Method {
 public:
  Method() = default;
  Method(const Method&) = delete;
  Method& operator=(const Method&) = delete;
  virtual ~Method() = default;
  /// One of them is trained.
  virtual std::vector<Part> parts() = 0;
  /// The first one is judged, exported and extracted unless another one is asked for.
  virtual std::vector<NamedEncoder> encoders() = 0;
  virtual std::vector<Buffer> buffers() { return {}; }
  [[nodiscard]] virtual HeldParameters held_at_first() const { return {}; }
  /// Before the losses of a step, with all that this rank works on in it, on the host. Collective.
  virtual void begin_step(const data::Batch& /*whole*/, const Step& /*step*/) {}
  /// Scalar fp32: the share of this batch, which is the whole or a part of whole groups, in the global loss
  /// (the shares of all parts and ranks add up to it). Collective.
  virtual at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) = 0;
  /// Of a part that follows another: what it keeps of itself after this step.
  [[nodiscard]] virtual double decay(const Step& /*step*/) const { return 1.0; }
  /// After the optimizer: centres, queues. Collective.
  virtual void after_step(const Step& /*step*/) {}
};

}  // namespace cohort::method
