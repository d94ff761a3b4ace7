#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/config/options.h"

namespace cohort::method {

struct Entry;
struct Traits;

/// The method of a run: a name of the registry, and the options of every method in it, so that a
/// configuration may hold those of methods that it does not choose. Copies are deep. Fields that were made of
/// one are void after an assignment to it.
class Choice {
 public:
  /// The registry's first entry; all options have their defaults.
  Choice();
  Choice(const Choice& other);
  Choice(Choice&&) noexcept = default;
  Choice& operator=(Choice other) noexcept;
  ~Choice() = default;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Throws UsageError: no such method ("did you mean").
  void choose(std::string_view name);
  [[nodiscard]] const Entry& entry() const;
  /// Of the chosen method.
  [[nodiscard]] const config::Options& options() const;
  /// Bug when they contradict each other.
  [[nodiscard]] Traits traits() const;

  /// The key "method".
  void visit_name(config::Fields& visit);
  /// A section of options for each entry, by its name.
  void visit_sections(config::Fields& visit);

 private:
  std::string name_;
  std::vector<std::unique_ptr<config::Options>> options_;  // of the entries, in their order
};

}  // namespace cohort::method
