#pragma once
#include <string>
#include <vector>

#include "check.h"

namespace cohort::jobs::doctor {

/// What all ranks found in one check.
struct Result {
  std::string name;
  ExitCode code = ExitCode::data;  ///< of the program, if it failed
  Status status = Status::ok;      ///< the worst
  std::string what;                ///< of all hosts, in one line: "4 hosts ok; n17: …"
  std::string fix;
};

/// One line for all ranks. `findings` and `hosts` are of every rank.
Result summarise(const Check& check, const std::vector<Finding>& findings,
                 const std::vector<std::string>& hosts);

/// "warn  open files      256\n      fix: …\n"
std::string text_of(const Result& result);
/// All of them, and the worst status.
std::string json_of(const std::vector<Result>& results);

// A finding as a text that travels between ranks.
std::string serialise(const Finding& finding);
Finding parse_finding(const std::string& text);

}  // namespace cohort::jobs::doctor
