#include <algorithm>

#include "../support/temporary_folder.h"
#include "fuzz.h"
#include "report/run.h"

// config.yaml up to the first 0, then metrics.jsonl.
void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  static const testing::TemporaryFolder folder;
  const auto zero = std::find(content.begin(), content.end(), 0);
  folder.write("config.yaml", std::string(content.begin(), zero));
  folder.write("metrics.jsonl", std::string(zero == content.end() ? zero : zero + 1, content.end()));
  report::read_run(folder.path());
}
