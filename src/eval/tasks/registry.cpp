#include <algorithm>
#include <vector>

#include "cohort/core/error.h"
#include "cohort/eval/task.h"

namespace cohort::eval {

// Each is defined in a file of its own, src/eval/tasks/<name>.cpp.
TaskEntry detection();
TaskEntry matching();
TaskEntry multilabel();
TaskEntry regression();
TaskEntry restoration();
TaskEntry retrieval();
TaskEntry segmentation();
TaskEntry verification();

std::span<const TaskEntry> tasks() {
  static const std::vector<TaskEntry> entries{multilabel(), regression(),   segmentation(), detection(),
                                              retrieval(),  verification(), matching(),     restoration()};
  return entries;
}

const TaskEntry& find_task(std::string_view name) {
  const auto found = std::find_if(tasks().begin(), tasks().end(),
                                  [&](const TaskEntry& entry) { return entry.name == name; });
  COHORT_CHECK(found != tasks().end(), "there is no task '{}'", name);
  return *found;
}

}  // namespace cohort::eval
