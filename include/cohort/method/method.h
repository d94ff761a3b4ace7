#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/data/batch.h"
#include "cohort/nn/parameter_rule.h"

namespace cohort::nn {
class UnitModel;
class Encoder;
struct Conditions;
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
  enum class Role {
    trained,  ///< by the optimizer, but for what rules freeze
    follows,  ///< the moving average of another part: its parameters; buffers are its own, and move by its
              ///< own forward passes in training mode
    frozen,   ///< keeps its first values
  };
  Role role = Role::trained;
  std::string follows{};  ///< the name of that other part
  [[nodiscard]] bool is_trained() const noexcept { return role == Role::trained; }
};

/// What makes features, in one of the parts: the part itself or a module of it.
struct NamedEncoder {
  std::string name;  ///< by which commands choose it: --part
  std::shared_ptr<nn::Encoder> encoder;
  std::string part;
};

/// The one that is trained. Bug when none is, or several are.
const Part& trained_part(std::span<const Part> parts);

/// What a method keeps from step to step besides its parts: the same on every rank, f32. Checkpoints have it
/// as "/method/<name>".
struct Buffer {
  std::string name;
  at::Tensor values;  ///< written in place when a run goes on
};

/// What a method makes of a few images, to be looked at.
struct Pictures {
  std::string caption;              ///< of the report: what the columns are
  std::vector<at::Tensor> columns;  ///< V x [B, C, h, w], as Batch::views: a line for each image
};

/// What a method says of the images of a batch, by the names that its task has for it (eval/task.h): "logits"
/// [B, classes].
using Answers = std::map<std::string, at::Tensor>;

/// One way of learning (supervised, DINO, MAE …): turns a batch into a loss. One file in src/method/ each.
/// It never sees how parameters are sharded, and communicates only through Step::ranks.
class Method {
 public:
  Method() = default;
  Method(const Method&) = delete;
  Method& operator=(const Method&) = delete;
  virtual ~Method() = default;
  /// Exactly one of them is trained: what learns together is one model, made of towers. The others have
  /// neither gradients nor state of an optimizer; all are sharded alike, and are in checkpoints.
  virtual std::vector<Part> parts() = 0;
  /// The first one is judged, exported and extracted unless another one is asked for.
  virtual std::vector<NamedEncoder> encoders() = 0;
  virtual std::vector<Buffer> buffers() { return {}; }
  /// How parameters of the trained part are trained, where that is not as the optimizer's options say; each
  /// pattern has a parameter. Those of the configuration come after them.
  [[nodiscard]] virtual std::vector<nn::ParameterRule> rules() const { return {}; }
  /// Before the losses of a step, with all that this rank works on in it, on the host. Collective.
  virtual void begin_step(const data::Batch& /*whole*/, const Step& /*step*/) {}
  /// After begin_step(): with the batches that loss() gets, in their order. Collective.
  virtual void prepare(std::span<const data::Batch> /*parts*/, const Step& /*step*/) {}
  /// Scalar fp32: the share of this batch, which is the whole or a part of whole groups, in the global loss
  /// (the shares of all parts and ranks add up to it). Collective.
  virtual at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) = 0;
  /// Of the weights as they are now. `batch`: whole groups of every rank. Collective.
  virtual std::optional<Pictures> pictures(const data::Batch& /*batch*/, const Step& /*step*/) {
    return std::nullopt;
  }
  /// Of the weights as they are now, for Traits::task. No gradients. `batch`: whole groups, with one view and
  /// the fields of Entry::fields. Collective where the encoder is. Bug for a method without a task.
  virtual Answers answer(const data::Batch& batch, const nn::Conditions& conditions);
  /// Of a part that follows another: what it keeps of itself after this step.
  [[nodiscard]] virtual double decay(const Step& /*step*/) const { return 1.0; }
  /// After the optimizer: centres, queues. Collective.
  virtual void after_step(const Step& /*step*/) {}
};

}  // namespace cohort::method
