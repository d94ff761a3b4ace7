#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cohort/core/error.h"
#include "cohort/data/context_sampler.h"

namespace cohort::data {

inline const std::vector<std::string> kNames{"north", "south", "east", "west", "a", "b", "c", "d"};

inline std::vector<ContextRun> runs_of(const std::vector<std::int32_t>& contexts) {
  ContextRuns runs;
  runs.append(contexts);
  return runs.runs();
}

/// counts[i] rows of context i, interleaved.
inline std::vector<std::int32_t> contexts_with(std::vector<std::int64_t> counts) {
  std::vector<std::int32_t> contexts;
  for (bool added = true; added;) {
    added = false;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (counts[i]-- <= 0) continue;
      contexts.push_back(static_cast<std::int32_t>(i));
      added = true;
    }
  }
  return contexts;
}

inline std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace cohort::data
