#include "new_file.h"

#include "cohort/core/error.h"

namespace cohort::jobs {

void add_overwrite(CLI::App& command, bool& overwrites) {
  command.add_flag("--overwrite", overwrites, "replace what is there already under the names of the output");
}

void refuse_existing(const std::vector<std::filesystem::path>& files, bool overwrites) {
  if (overwrites) return;
  for (const std::filesystem::path& file : files) {
    std::error_code error;
    if (file.empty() || !std::filesystem::exists(file, error)) continue;
    throw UsageError({"the output is there already", file.string(),
                      "choose another name, or replace it with --overwrite"});
  }
}

void refuse_existing(const std::vector<std::filesystem::path>& files, bool overwrites,
                     comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) refuse_existing(files, overwrites);
  });
}

}  // namespace cohort::jobs
