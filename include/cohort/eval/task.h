#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/data/batch.h"
#include "cohort/data/field.h"
#include "cohort/eval/scorecard.h"
#include "cohort/eval/task_config.h"
#include "cohort/method/method.h"

namespace cohort::eval {

/// Contexts that scores are given for: the values of one key, then those of the next one.
struct ContextNames {
  struct Key {
    std::string name;
    std::size_t first = 0, count = 0;  ///< of `values`
  };
  std::vector<Key> keys;
  std::vector<std::string> values;
};

/// What a task is made of.
struct TaskInput {
  data::Field target;                ///< the field that answers are compared with
  std::vector<std::string> classes;  ///< names of its classes, measurements or flags
  ContextNames contexts;
  std::int64_t images = 0;  ///< of the split, over all ranks
  TaskConfig config{};
};

/// What a method says of n images, and what is true of them.
struct AnsweredImages {
  std::span<const std::int64_t> rows;      ///< [n], of the dataset
  std::span<const std::int32_t> contexts;  ///< [n, keys], each of ContextNames::values
  const method::Answers& answers;          ///< fp32 on the CPU
  const data::Column& target;              ///< of TaskInput::target, in the first view where it has views
};

/// What answers are scored as. Its numbers depend neither on the number of ranks, nor on which of them sees
/// an image, nor on the order of images: sums of whole numbers, ExactSum, or values that are sorted by row.
/// Memory of a rank: O(classes + contexts), and what a task says besides. One thread.
class Task {
 public:
  Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  virtual ~Task() = default;

  /// Images of one pass; each image comes once, on one rank. Throws DataError.
  virtual void add(const AnsweredImages& images) = 0;
  /// Collective, once. Throws DataError: answers that are not finite, nothing to score.
  virtual Scorecard finish(comm::Communicator& ranks) = 0;
};

/// A score that a task gives of all images, as checkpoint.best_by may name it.
struct ScoreName {
  std::string name;
  bool higher_is_better = true;
};

/// One task.
struct TaskEntry {
  std::string_view name;      ///< "segmentation"
  std::string_view sentence;  ///< what is scored: "a class for every pixel"
  data::FieldKind target;     ///< what answers are compared with
  std::string_view answers;   ///< tensors that a method gives: "logits [B, L]"
  /// Of Scorecard::all; the first one first.
  std::vector<ScoreName> (*scores)(const TaskConfig& config);
  std::unique_ptr<Task> (*make)(TaskInput input);
};

/// All tasks but classification, which has labels for targets (evaluation.h).
std::span<const TaskEntry> tasks();

/// Precondition: there is one of that name.
const TaskEntry& find_task(std::string_view name);

}  // namespace cohort::eval
