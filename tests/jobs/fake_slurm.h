#pragma once
// Programs that play Slurm: they stand first in PATH, and write down what they were called with.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <fmt/format.h>

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort::jobs {

class FakeSlurm {
 public:
  /// A program of this name that runs `body` (bash) after it has written its arguments, a line each, to
  /// NAME.called.
  void play(const std::string& name, const std::string& body) const {
    const auto file =
        folder_.write("bin/" + name, fmt::format("#!/bin/bash\nprintf '%s\\n' \"$@\" >>{}/{}.called\n{}\n",
                                                 folder_.path().string(), name, body));
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  }
  /// A command line that finds them.
  [[nodiscard]] test::Outcome run(const std::string& command) const {
    const auto script = folder_.write("command.sh", command + "\n");
    return test::spawn(fmt::format("env -u SLURM_CONF PATH={}/bin:/usr/bin:/bin HOME={} bash {}",
                                   folder_.path().string(), folder_.path().string(), script.string()));
  }
  /// The arguments that a program got, a line each; empty if it was not called.
  [[nodiscard]] std::string called(const std::string& name) const {
    std::ifstream stream(folder_.path() / (name + ".called"));
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  [[nodiscard]] const testing::TemporaryFolder& folder() const noexcept { return folder_; }

 private:
  testing::TemporaryFolder folder_;
};

}  // namespace cohort::jobs
