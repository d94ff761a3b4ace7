#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace cohort::perf {

/// A span of one rank; times in ms since the beginning of the trace.
struct Span {
  std::string name, kind, lane;
  int rank = 0;
  double begin = 0, end = 0;
  std::int64_t bytes = 0;
  std::size_t depth = 0;  ///< how many spans of its lane it lies in
};

/// trace.json of a run (docs/formats/run.md): spans by rank, in the order in which they began. Throws
/// DataError.
std::map<int, std::vector<Span>> read_trace(const std::filesystem::path& file);

/// What one rank did within one of its steps; spans that began before or ended after are cut.
struct RankStep {
  Span step;
  std::vector<Span> spans;
};

/// An SVG of one step: lanes of all ranks over one axis of time.
std::string draw_step(const std::vector<RankStep>& ranks);

}  // namespace cohort::perf
