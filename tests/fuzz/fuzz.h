#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace cohort::fuzz {

/// A file that holds `content` as long as it lives, in memory.
class File {
 public:
  explicit File(std::span<const std::uint8_t> content);
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();
  [[nodiscard]] std::filesystem::path path() const;

 private:
  int descriptor_;
};

/// What each fuzzer defines: reads `content`. cohort::Error is an answer; anything else that leaves it, and
/// all that the sanitizers find, is a finding.
void read(std::span<const std::uint8_t> content);

}  // namespace cohort::fuzz
