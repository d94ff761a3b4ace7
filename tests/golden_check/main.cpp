// golden_check FILE…: runs the part of Cohort that each reference file is for and compares all that it has.
// A line a quantity; exit code 0: all are right; 1: one is off; 77: a kind of file that Cohort has no part
// for yet; 2: a file cannot be read. Of several files the worst one counts.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <span>

#include "checks.h"

namespace cohort::golden_check {
namespace {

enum class Ending { right = 0, wrong = 1, unreadable = 2, unknown = 77 };

// From the best to the worst.
int rank_of(Ending ending) {
  switch (ending) {
    case Ending::right:
      return 0;
    case Ending::unknown:
      return 1;
    case Ending::wrong:
      return 2;
    case Ending::unreadable:
      return 3;
  }
  return 0;
}

Ending run(const Check& check, const testing::Golden& file) {
  Comparison comparison(file);
  try {
    check(comparison);
  } catch (const std::exception& error) {
    std::printf("  WRONG: %s\n", error.what());
    return Ending::wrong;
  }
  return comparison.finish() ? Ending::right : Ending::wrong;
}

Ending check_file(const char* path) {
  try {
    const testing::Golden file = testing::Golden::of_file(path);
    std::printf("%s (%s)\n", path, file.kind().empty() ? "of no kind" : file.kind().c_str());
    const auto found = checks().find(file.kind());
    if (found != checks().end()) return run(found->second, file);
    std::printf("  skipped: there is no check for this kind\n");
    return Ending::unknown;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "golden_check: %s\n", error.what());
    return Ending::unreadable;
  }
}

int check_files(std::span<char*> paths) {
  Ending worst = paths.empty() ? Ending::unreadable : Ending::right;
  for (const char* path : paths)
    worst = std::max(worst, check_file(path), [](Ending a, Ending b) { return rank_of(a) < rank_of(b); });
  if (paths.empty()) std::fprintf(stderr, "usage: golden_check FILE…\n");
  return static_cast<int>(worst);
}

}  // namespace
}  // namespace cohort::golden_check

int main(int argc, char** argv) {
  return cohort::golden_check::check_files(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
}
