#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cohort/config/options.h"
#include "cohort/data/description.h"
#include "cohort/method/method.h"
#include "cohort/nn/conditions.h"

namespace cohort::method {

/// What a run asks of a method before it is made.
struct Traits {
  /// A label is learnt: data.label, or the dataset's only one; without it there is nothing to train. Else
  /// data.label alone brings labels into batches.
  bool needs_label = false;
  /// The encoder ends in a head with the label's classes, whose answers are scored on eval.splits. Else its
  /// features are judged, by eval.neighbours. Goes with needs_label.
  bool learns_classes = false;
  /// Materials::label_counts is read: a pass over all labels.
  bool counts_labels = false;
  /// Views of a whole image (augment.preset=whole), each with changes of its own.
  std::int64_t views = 1;
  /// The crops of other presets serve as views, however many a preset has.
  bool takes_crops = false;
  /// Crops of a preset beyond these are refused; 0: any number.
  std::int64_t most_views = 0;
  /// What Method::answer() is scored as on eval.splits: a name of eval/task.h. Empty: the head's classes are,
  /// or features.
  std::string_view task = "";
  /// The encoder is the one part, called "model": published weights can stand in for a first checkpoint.
  bool is_encoder_alone = false;
};

/// What a method is made of.
struct Materials {
  const data::Description& description;  ///< of the dataset with the channels that are trained on
  std::int64_t classes = 0;              ///< of the label; 0 for a method that learns none
  /// Training images of each class; empty unless Traits::counts_labels.
  std::span<const std::int64_t> label_counts{};
  /// Makes an encoder for what `role` names ("image") with a head for `classes` (0: none), each time another.
  /// A run's have shapes and no values: the trainer sets those of all parts.
  std::function<std::shared_ptr<nn::Encoder>(std::string_view role, std::int64_t classes)> encoder;
  nn::Scope scope = nn::Scope::group;  ///< context.scope
  /// The tensors of a safetensors file. Throws DataError.
  std::function<std::vector<std::pair<std::string, at::Tensor>>(const std::filesystem::path& file)>
      stored_tensors{};
};

/// What else of a run a method may not go together with.
struct Surroundings {
  bool reproducible = false;          ///< each group is a micro-batch
  std::int64_t micro_batches = 1;     ///< train.micro_batches
  bool channel_sampling = false;      ///< model.channel_sampling
  std::int64_t images_per_group = 2;  ///< sampler.images_per_group

  /// Whether a rank's images of a step go through the model in parts.
  [[nodiscard]] bool divides_steps() const noexcept { return reproducible || micro_batches > 1; }
  /// The option that does: what a message ends with. Of surroundings that divide steps.
  [[nodiscard]] std::string_view why_divided() const noexcept {
    return reproducible ? "reproducible makes each group a micro-batch" : "train.micro_batches divides them";
  }
};

/// One method. Its options are a section of configurations, `name`.
struct Entry {
  std::string_view name;      ///< "dino"
  std::string_view sentence;  ///< what is learnt from: "self-distillation without labels"
  std::string_view section;   ///< what its options are about: "head, teacher and loss"
  /// The defaults: config::default_options<…>.
  std::unique_ptr<config::Options> (*options)();
  Traits (*traits)(const config::Options& options);
  std::unique_ptr<Method> (*make)(const config::Options& options, const Materials& materials);
  /// Fields of the dataset that batches bring along for losses and answers; of a method with a task the first
  /// one is what answers are compared with. Throws UsageError: there are none that serve. Null: no fields.
  std::vector<std::string> (*fields)(const config::Options& options,
                                     const data::Description& description) = nullptr;
  /// Throws UsageError where the options contradict each other or the run; `where`: the configuration. Null:
  /// nothing does.
  void (*check)(const config::Options& options, const Surroundings& run, const std::string& where) = nullptr;
  /// Whether a run that goes on from a checkpoint may have other options: they shape no weights, and no step
  /// depends on what an earlier one did with them.
  bool options_may_change = false;
  /// Of these options those that may not, because shapes of weights depend on them: keys within the section.
  std::span<const std::string_view> fixed_options{};
};

/// All methods, in the order of the documents. The first is the default of configurations.
std::span<const Entry> registry();

/// Throws UsageError: no such method ("did you mean"). Its place is "method": the key, in no file.
const Entry& find(std::string_view name);

/// For a method that is not part of Cohort: called at the start of a program, before its first RunConfig and
/// its first thread. From then on it is one like the others. Entries that were handed out before are void.
/// Two of one name, or one with the name of a section of configurations, are a Bug of the first
/// config::Fields of a RunConfig: main() has nobody to report it yet.
void add(const Entry& entry);

}  // namespace cohort::method
