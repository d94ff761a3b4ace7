#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace cohort::data_prep {

/// Whether systems and programs keep a file or folder of this name for themselves: .git, .ipynb_checkpoints,
/// ._photo.png, __MACOSX.
bool is_hidden(const std::string& name);

/// What a conversion leaves out of what it was given, counted by reason.
class LeftOut {
 public:
  /// `remedy`: what would make a conversion of it; the same for one reason. May be empty.
  void add(const std::string& reason, const std::string& name, const std::string& remedy = "");

  /// "left out:\n  3 hidden: .git, a/.DS_Store, …\n": a line for each reason, with the first names, and below
  /// it the remedy. Empty when nothing was left out.
  [[nodiscard]] std::string text() const;
  /// "3 videos: write their frames": of all that has a remedy, most frequent first. Empty: nothing has.
  [[nodiscard]] std::string remedies() const;

 private:
  struct Kind {
    std::int64_t count = 0;
    std::vector<std::string> first;
    std::string remedy;
  };
  std::map<std::string, Kind> kinds_;  // by reason
};

}  // namespace cohort::data_prep
