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
  void add(const std::string& reason, const std::string& name);

  /// "left out:\n  3 hidden: .git, a/.DS_Store, …\n": a line for each reason, with the first names. Empty
  /// when nothing was left out.
  [[nodiscard]] std::string text() const;

 private:
  struct Kind {
    std::int64_t count = 0;
    std::vector<std::string> first;
  };
  std::map<std::string, Kind> kinds_;  // by reason
};

}  // namespace cohort::data_prep
