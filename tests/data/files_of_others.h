#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cohort/data/dataset.h"

#include "data/command_line.h"

namespace cohort::data_prep {

/// Commands on files that others made.
class Others : public Commands {
 protected:
  /// What rank 0 prints; every rank has to come to the same end.
  std::string printed(const std::string& line, ExitCode expected = ExitCode::done) {
    ::testing::internal::CaptureStdout();
    const ExitCode code = in_folder(line);
    std::string text = ::testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, expected);
    return text;
  }
  /// Runs `action` on rank 0 while the others wait.
  template <class Action>
  void alone(const Action& action) {
    if (world_.rank() == 0) action();
    world_.barrier();
  }
  [[nodiscard]] std::vector<std::string> ids(const std::string& dataset) const {
    return data::Dataset::open(path(dataset), "train").ids();
  }
  [[nodiscard]] float first_value(const std::string& dataset, std::int64_t row) const {
    return data::Dataset::open(path(dataset), "train").images(std::vector{row}).data_ptr<float>()[0];
  }
  /// The content of a PNG of 2 x 2 pixels.
  std::string png(std::uint8_t value) {
    const std::filesystem::path file = path(fmt::format("png-{}-{}", world_.rank(), value));
    testing::write_png(file, 2, 2, 1, std::vector<std::uint8_t>(4, value));
    return read_file(file);
  }
};

}  // namespace cohort::data_prep
