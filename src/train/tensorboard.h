#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

#include "support/json.h"

namespace cohort::train {

/// Event files as TensorBoard reads them: records of TensorFlow's TFRecord format (length, data, masked
/// CRC-32C of each) with one Event message each (tensorflow/core/util/event.proto), scalars as simple_value.
/// What is written is made from the lines of metrics.jsonl, so that both say the same:
///  train/<key>                 numbers of step lines
///  <split>/<score>             evaluation lines; "<split>, knn k=20/<score>" where neighbours answered
///  features/<key>              features lines
class TensorBoard {
 public:
  /// Begins a new file in `folder`, with what `metrics` has so far, and removes the earlier ones: a run that
  /// goes on shows every step once. Steps of before get the times that they would have had without the
  /// interruption; `seconds`: of all of them together. No `metrics`: nothing so far. Throws DataError.
  TensorBoard(const std::filesystem::path& folder, const std::filesystem::path& metrics, double seconds);
  /// A line of metrics.jsonl. Throws DataError (disk full).
  void write(const std::string& line);

 private:
  void add(const Json& line, double time);
  void flush();

  std::filesystem::path file_;
  std::ofstream stream_;
};

/// CRC-32C (Castagnoli).
std::uint32_t crc32c(std::span<const std::byte> bytes) noexcept;

}  // namespace cohort::train
