#pragma once
#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "../support/temporary_folder.h"

namespace cohort::report {

inline std::string step_line(int step, double loss) {
  return fmt::format(
      R"({{"kind":"step","step":{},"epoch":0,"loss":{},"lr":1e-3,"grad_norm":1.2,"images_per_second":{},"seconds":0.3,"data_wait":0.02,"accuracy":0.5}})"
      "\n",
      step, loss, 800 + step);
}

/// Two contexts, "a" with the accuracy of the whole and "b" with a lower one.
inline std::string evaluation_line(int step, const std::string& split, double accuracy, bool has_auc = true) {
  const auto context = [](const char* name, double value) {
    return fmt::format(R"({{"context":"{}","images":15,"accuracy":{},"low":{},"high":{},"confidence":0.9}})",
                       name, value, value / 2, (1 + value) / 2);
  };
  return fmt::format(
      R"({{"kind":"evaluation","step":{},"epoch":1,"split":"{}","label":"defective","classes":["no","yes"],"context_key":"module",)"
      R"("images":1650,"accuracy":{},"balanced_accuracy":{},{}"loss":0.4,"confidence":0.87,"majority":0.67,"contexts":[{},{}]}})"
      "\n",
      step, split, accuracy, accuracy - 0.02, has_auc ? fmt::format("\"auc\":{},", accuracy + 0.05) : "",
      context("module_a", accuracy), context("module_b", accuracy - 0.25));
}

inline std::string end_line() {
  return R"({"kind":"end","step":3,"seconds":118.2,"images_per_second":1812.4,"ranks":2,"parameters":812345})"
         "\n";
}

/// Writes a run folder; returns its path.
inline std::filesystem::path write_run(const testing::TemporaryFolder& folder, const std::string& name,
                                       const std::string& metrics, const std::string& config = "seed: 1\n") {
  folder.write(std::filesystem::path(name) / "config.yaml", config);
  return folder.write(std::filesystem::path(name) / "metrics.jsonl", metrics).parent_path();
}

}  // namespace cohort::report
